"""Client: submits one transaction after the other, each until it is answered, and asks for its counter in between.

It never assumes. Whatever was not answered in time, or answered as unknown, it sends again under the same key, perhaps
to another node; so a key may reach several leaders, and must take effect once.
"""

from collections.abc import Sequence
from random import Random
from typing import Final

from simulation.cluster.wire import (
    NotLeader,
    ReadAnswer,
    ReadRefused,
    ReadRequest,
    Receipt,
    Submission,
    Unknown,
)
from simulation.promises.receipts import Receipts
from simulation.world.network import Network
from simulation.world.timeline import MS, Timeline

_TIMEOUT_NS: Final = 250 * MS
_BACK_OFF_NS: Final = (5 * MS, 60 * MS)
_THINKING_NS: Final = (0, 24 * MS)
_READS: Final = 0.08


class Client:
    """One session."""

    def __init__(
        self,
        number: int,
        nodes: Sequence[int],
        timeline: Timeline,
        network: Network,
        receipts: Receipts,
        seed: int,
    ) -> None:
        self._number, self._nodes = number, nodes
        self._timeline, self._network, self._receipts = timeline, network, receipts
        self._rng = Random(seed)
        self._target = self._rng.choice(nodes)
        self._sequence = 0
        self._tries = 0
        self._reading = False
        self._asking = False
        self._stopping = False
        self.idle = True
        """Whether everything has been answered, and nothing more will be asked."""

    def start(self) -> None:
        """Begin to submit."""
        self.idle = False
        self._next()

    def stop(self) -> None:
        """Submit nothing new."""
        self._stopping = True

    def receive(self, sender: int, answer: object) -> None:
        """Handle an answer; one to something else than what is asked now is late, and of no interest."""
        if not self._asking:
            return
        match answer:
            case Receipt(sequence=sequence) if not self._reading and sequence == self._sequence:
                self._receipts.acknowledged(self._number, answer, self._timeline.now_ns)
                self._target = sender
                self._think()
            case ReadAnswer(read=read) if self._reading and read == self._tries:
                self._receipts.read(self._number, answer.at_index, answer.amount, self._started_ns)
                self._target = sender
                self._think()
            case NotLeader(sequence=sequence, hint=hint) if not self._reading and sequence == self._sequence:
                self._turn_to(hint)
                self._again()
            case ReadRefused(read=read, hint=hint) if self._reading and read == self._tries:
                self._turn_to(hint)
                self._again()
            case Unknown(sequence=sequence) if not self._reading and sequence == self._sequence:
                self._again()
            case _:
                pass

    def _think(self) -> None:
        self._asking = False
        self._tries += 1
        self._timeline.after(self._rng.randint(*_THINKING_NS), self._next)

    def _next(self) -> None:
        if self._stopping:
            self.idle = True
            return
        self._asking = True
        self._reading = self._rng.random() < _READS
        if not self._reading:
            self._sequence += 1
            self._receipts.submitted(self._number, self._sequence, self._timeline.now_ns)
        self._ask()

    def _again(self) -> None:
        """Ask again soon; what is under way is not waited for any more."""
        self._tries += 1
        tries = self._tries
        self._timeline.after(self._rng.randint(*_BACK_OFF_NS), lambda: self._ask() if tries == self._tries else None)

    def _ask(self) -> None:
        self._tries += 1
        tries = self._tries
        self._started_ns = self._timeline.now_ns
        question = ReadRequest(tries) if self._reading else Submission(self._number, self._sequence)
        self._network.send(self._number, self._target, question)
        self._timeline.after(_TIMEOUT_NS, lambda: self._time_out(tries))

    def _time_out(self, tries: int) -> None:
        if tries == self._tries:
            self._turn_to(0)
            self._ask()

    def _turn_to(self, hint: int) -> None:
        self._target = hint if hint in self._nodes else self._rng.choice(self._nodes)
