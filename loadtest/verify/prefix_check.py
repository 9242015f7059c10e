"""Check of a long log's first transactions against the reference model, in a process of its own.

The model takes microseconds for each transaction; in this process, the interpreter's lock would make all other checks
wait for it.
"""

import multiprocessing
import os
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from loadtest.node.child_process import end_with_parent
from loadtest.verify.log_parser import LogBlock, read_blocks
from loadtest.verify.reference_model import ReferenceModel
from loadtest.verify.session_ledger import SessionBounds

U8Array = npt.NDArray[np.uint8]


class PrefixCheck:
    """Compares the first ``transactions_max`` transactions of a log, in whole blocks, with the reference model.

    ``bounds`` are those on sessions that the log began with.
    """

    def __init__(self, directory: Path, transactions_max: int, bounds: SessionBounds) -> None:
        self._max: Final = transactions_max
        self._results = bytearray()
        self._effects_digest = 0
        self._full = False
        spawn = multiprocessing.get_context("spawn")  # gRPC does not survive a fork
        self._pool = ProcessPoolExecutor(1, spawn, initializer=end_with_parent, initargs=(os.getpid(),))
        self._reference = self._pool.submit(_apply_prefix, directory, transactions_max, bounds)

    def close(self) -> None:
        """Wait for the process to end."""
        self._pool.shutdown(cancel_futures=True)

    def add(self, block: LogBlock, results: U8Array, effects_digest: int) -> None:
        """Take the next block's results and the digest of effects after it; ignored once there are enough."""
        self._full |= len(self._results) + block.count > self._max
        if not self._full:
            self._results += results.tobytes()
            self._effects_digest = effects_digest

    def finish(self) -> tuple[int, str]:
        """Wait for the model; returns how many transactions it applied, and the first difference or "".

        Raises:
            LogUnreadable: the model's process could not read the log.
        """
        results, effects_digest = self._reference.result()
        if results != self._results:
            pairs = zip(results, self._results, strict=False)
            same = min(len(results), len(self._results))
            return len(results), f"transaction {next((i for i, pair in enumerate(pairs) if pair[0] != pair[1]), same)}"
        return len(results), "" if effects_digest == self._effects_digest else "the digest of effects"


def _apply_prefix(directory: Path, transactions_max: int, bounds: SessionBounds) -> tuple[bytes, int]:
    """Results and the digest of effects, by the reference model."""
    model, results = ReferenceModel(bounds), bytearray()
    with closing(read_blocks(directory)) as blocks:
        for block in blocks:
            if len(results) + block.count > transactions_max:
                break
            results += model.apply(bytes(block.records), bytes(block.payloads), block.first_position, block.time_ns)
    return bytes(results), model.effects_digest
