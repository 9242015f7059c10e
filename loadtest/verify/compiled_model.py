"""Compiled model of the state machine: recomputes a load's results at tens of millions of transactions per second.

A load's keys are small numbers, so its state fits arrays indexed by key: no hash table, no heap, nothing that the state
machine is made of. Transactions of any other shape (long keys, floors, namespaces) are refused with
:class:`UnsupportedTransaction`; :mod:`loadtest.verify.reference_model` takes them.
"""

from typing import Final

import numpy as np
import numpy.typing as npt

from loadtest.verify.compiled_kernel import (
    BLOCK_RECORDS,
    CARRY_WORDS,
    DIGEST,
    KEYS,
    OVERDRAFT,
    PAYLOAD_AT,
    STOP,
    STOP_AT,
    STOP_CLIENT,
    STOP_KEYS,
    UNDO_COLUMNS,
    VERSION,
    WORD,
    WORK_COLUMNS,
    apply_records,
)
from loadtest.verify.compiled_sessions import (
    CLIENT_ID,
    CLIENT_WORDS,
    EXECUTED,
    GONE,
    HIGHEST,
    HORIZON,
    LEDGER_WORDS,
    PAGE_RING,
    PAGES_MAX,
    ROWS,
    SESSIONS_MAX,
    STATE,
    WINDOW,
    begin_block,
)
from loadtest.verify.log_parser import LogBlock
from loadtest.verify.session_ledger import SessionBounds

_K: Final = np.uint64(0x9E3779B97F4A7C15)
_KEYS_MAX: Final = 1 << 26
_CLIENTS_MAX: Final = 1024


class UnsupportedTransaction(Exception):
    """The log holds a transaction that this model has no arrays for; use the reference model."""


class CompiledModel:
    """The state of a load after the blocks applied so far."""

    def __init__(self, keys: int = 1 << 17, clients: int = 16, bounds: SessionBounds | None = None) -> None:
        bounds = bounds or SessionBounds()
        self._cells = np.zeros((3, keys, 2), np.uint64)
        self._clients = np.zeros((clients, CLIENT_WORDS), np.uint64)
        self._windows = np.zeros((clients, WINDOW), np.uint64)
        self._pages = np.zeros((clients, 2, PAGE_RING), np.uint64)
        self._ledger = np.zeros(LEDGER_WORDS, np.uint64)
        self._ledger[[SESSIONS_MAX, HORIZON, PAGES_MAX]] = bounds.sessions, bounds.horizon_ns, bounds.pages
        self._carry = np.zeros(CARRY_WORDS, np.uint64)
        self._carry[KEYS] = keys
        self._work = np.zeros((BLOCK_RECORDS, WORK_COLUMNS), np.uint64)
        self._undo = np.zeros((2 * BLOCK_RECORDS, UNDO_COLUMNS), np.uint64)

    @property
    def effects_digest(self) -> int:
        """Digest of all effects so far."""
        return int(self._carry[DIGEST])

    def apply(self, block: LogBlock) -> npt.NDArray[np.uint8]:
        """Apply one block; returns ``uint8[count]``, one result each.

        Raises:
            UnsupportedTransaction: the block is not one of a load.
        """
        records = np.frombuffer(block.records, np.uint64).reshape(-1, 8)
        payloads = np.frombuffer(block.payloads, np.uint8)
        results = np.empty(len(records), np.uint8)
        self._carry[PAYLOAD_AT] = 0
        begin_block(self._ledger, block.time_ns)
        done = 0
        while True:
            done = apply_records(
                records,
                payloads,
                done,
                block.first_position,
                self._cells,
                self._clients,
                self._windows,
                self._pages,
                self._ledger,
                self._work,
                self._undo,
                results,
                self._carry,
            )
            if done == len(records):
                break
            at = int(self._carry[STOP_AT])
            self._make_room(records[at], block.first_position + at)
        if self._carry[PAYLOAD_AT] != len(payloads):
            raise UnsupportedTransaction(f"block {block.index} has payloads that no record speaks of")
        return results

    def executed(self, client_id: int) -> int:
        """Number of a client's transactions that were executed: each once, and a duplicate after that."""
        known = self._clients[: int(self._ledger[ROWS])]
        return int(known[known[:, CLIENT_ID] == client_id, EXECUTED].sum())

    def money_problems(self) -> list[str]:
        """Violations of two invariants: all balances sum up to 0, and only overdraft accounts are below 0."""
        accounts = self._cells[2]
        balances = accounts[:, WORD].view(np.int64)
        problems = []
        total = int(balances.sum())
        if total:
            problems.append(f"all balances together are {total}, not 0: money was made or lost")
        overdrawn = np.flatnonzero((balances < 0) & (accounts[:, VERSION] < OVERDRAFT))
        if len(overdrawn):
            problems.append(f"{len(overdrawn)} accounts without overdraft are below 0, the first is {overdrawn[0]}")
        return problems

    def state_digest(self) -> int:
        """Digest of the whole state."""
        total = 0
        for kind, cells in enumerate(self._cells, start=1):
            numbers = np.flatnonzero(cells[:, VERSION]).astype(np.uint64)
            word, version = cells[numbers, WORD], cells[numbers, VERSION]
            if kind == 3:
                key_digest = _mix(_mix(np.full(len(numbers), 16, np.uint64), numbers), np.uint64(0))
            else:
                key_digest = _mix(np.full(len(numbers), 8, np.uint64), numbers)
            digest = np.uint64(kind) | (version >> np.uint64(63)) << np.uint64(32)
            for part in (key_digest, word, version & ~OVERDRAFT, np.zeros_like(word)):
                digest = _mix(digest, part)
            total += int(_finish(digest).sum(dtype=np.uint64))
        known = self._clients[: int(self._ledger[ROWS])]
        known = known[known[:, STATE] != GONE]
        sessions = _mix(_mix(np.full(len(known), 4, np.uint64), known[:, CLIENT_ID]), known[:, HIGHEST])
        return (total + int(_finish(sessions).sum(dtype=np.uint64))) & ((1 << 64) - 1)

    def _make_room(self, record: npt.NDArray[np.uint64], position: int) -> None:
        """Grow the array that the kernel stopped for, or refuse the transaction."""
        stop, clients = int(self._carry[STOP]), int(self._ledger[ROWS])
        is_transfer = int(record[7]) >> 16 & 0xFF == 6
        highest_key = max(int(record[2]), int(record[4]) if is_transfer else 0)
        if stop == STOP_KEYS and highest_key < _KEYS_MAX:
            cells = np.zeros((3, 1 << highest_key.bit_length(), 2), np.uint64)
            cells[:, : self._cells.shape[1]] = self._cells
            self._cells = cells
            self._carry[KEYS] = cells.shape[1]
        elif stop == STOP_CLIENT and clients < _CLIENTS_MAX:
            if clients == len(self._clients):
                self._clients = _doubled(self._clients)
                self._windows = _doubled(self._windows)
                self._pages = _doubled(self._pages)
            self._clients[clients, CLIENT_ID] = record[0]
            self._ledger[ROWS] = clients + 1
        else:
            raise UnsupportedTransaction(f"transaction {position} is not one that `penstock load` makes")


def _doubled(rows: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """The same rows and as many again, of zeros that take no memory yet."""
    doubled = np.zeros((2 * len(rows), *rows.shape[1:]), np.uint64)
    doubled[: len(rows)] = rows
    return doubled


def _mix(digest: npt.NDArray[np.uint64], word: npt.NDArray[np.uint64] | np.uint64) -> npt.NDArray[np.uint64]:
    product = (digest ^ word) * _K
    return product << np.uint64(29) | product >> np.uint64(35)


def _finish(digest: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    digest = (digest ^ digest >> np.uint64(32)) * _K
    return digest ^ digest >> np.uint64(29)
