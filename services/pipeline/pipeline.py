"""The way of a transaction through a node: sequencer, log writer, applier, each in a thread of its own.

While block k+1 is being sealed, k is being made durable and k-1 applied. What moves between the stages are pooled
buffers; their number is what bounds every queue in between, and when they run out the ring fills and pushes back.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import TypeVar

from services.pipeline.applier import Applier, StateQuery
from services.pipeline.channel import ChannelClosed
from services.pipeline.log_writer import LogWriter
from services.pipeline.sequencer import Sequencer
from statestore.state_machine import StateMachine

Answer = TypeVar("Answer")


class Pipeline:
    """Connects the stages and runs them."""

    def __init__(
        self, sequencer: Sequencer, log_writer: LogWriter, applier: Applier, on_failure: Callable[[BaseException], None]
    ) -> None:
        """Run these stages; ``on_failure`` is called once, by the thread of the first stage that fails."""
        self._sequencer = sequencer
        self._applier = applier
        self._on_failure = on_failure
        self._failed = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, args=(stage,), name=name, daemon=True)
            for name, stage in (
                ("sequencer", sequencer.run),
                ("log-writer", log_writer.run),
                ("applier", applier.run),
            )
        ]

    def start(self) -> None:
        """Start the stages."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Bring everything that was admitted through all stages, then end. Nothing may be admitted any more."""
        self._sequencer.stop()
        for thread in self._threads:
            thread.join()

    def query(self, question: Callable[[StateMachine], Answer]) -> "Future[Answer]":
        """Ask something of the state between two blocks.

        Raises:
            ChannelClosed: the pipeline has ended, also from the future that is returned.
        """
        asked = StateQuery(question)
        self._applier.channel.put(asked)
        return asked.answer

    def _run(self, stage: Callable[[], None]) -> None:
        """Run a stage. However it ends, it has passed the end on, and found its own inbox closed: none waits for it."""
        try:
            stage()
        except ChannelClosed:
            pass  # the stage behind this one has failed, and tells of it
        except BaseException as error:
            if self._failed.acquire(blocking=False):
                self._on_failure(error)
