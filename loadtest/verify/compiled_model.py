"""Compiled model of the state machine: recomputes a load's results at tens of millions of transactions per second.

A load's keys are small numbers, so its state fits arrays indexed by key: no hash table, no heap, nothing that the state
machine is made of. Transactions of any other shape (long keys, chains, namespaces) are refused with
:class:`UnsupportedTransaction`; :mod:`loadtest.verify.reference_model` takes them.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from loadtest.verify.log_parser import LogBlock
from txqueue.jit.decorators import eager

_K: Final = np.uint64(0x9E3779B97F4A7C15)
_K1: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_K2: Final = np.uint64(0x165667B19E3779F9)
_U0: Final = np.uint64(0)
_U1: Final = np.uint64(1)
_I64_MAX: Final = (1 << 63) - 1

_WINDOW: Final = 131_072
_KEYS_MAX: Final = 1 << 26
_CLIENTS_MAX: Final = 4096

# Columns of `cells`, 16 bytes for each key so that a million of them stay in the cache: what the key holds (an amount,
# or the digest of a value), and the version of that, 0 where there is nothing. Bit 63 of a version marks an overdraft
# account.
_WORD, _VERSION = 0, 1
_OVERDRAFT: Final = np.uint64(1 << 63)
_FLAG_OVERDRAFT: Final = 2

# Columns of `clients`.
_CLIENT_ID, _HIGHEST, _EXECUTED = 0, 1, 2

# Words of `carry`, which the kernel keeps from block to block.
_DIGEST, _PAYLOAD_AT, _CLIENTS, _KEYS, _STOP = 0, 1, 2, 3, 4
_STOP_GENERAL, _STOP_KEYS, _STOP_CLIENT = 1, 2, 3


class UnsupportedTransaction(Exception):
    """The log holds a transaction that this model has no arrays for; use the reference model."""


class CompiledModel:
    """The state of a load after the blocks applied so far."""

    def __init__(self, keys: int = 1 << 17, clients: int = 16) -> None:
        self._cells = np.zeros((3, keys, 2), np.uint64)
        self._clients = np.zeros((clients, 4), np.uint64)
        self._windows = np.zeros((clients, _WINDOW), np.uint8)
        self._carry = np.zeros(8, np.uint64)
        self._carry[_KEYS] = keys

    @property
    def effects_digest(self) -> int:
        """Digest of all effects so far."""
        return int(self._carry[_DIGEST])

    def apply(self, block: LogBlock) -> npt.NDArray[np.uint8]:
        """Apply one block; returns ``uint8[count]``, one result each.

        Raises:
            UnsupportedTransaction: the block is not one of a load.
        """
        records = np.frombuffer(block.records, np.uint64).reshape(-1, 8)
        payloads = np.frombuffer(block.payloads, np.uint8)
        results = np.empty(len(records), np.uint8)
        self._carry[_PAYLOAD_AT] = 0
        done = 0
        while True:
            done = _apply(
                records,
                payloads,
                done,
                block.first_position,
                self._cells,
                self._clients,
                self._windows,
                results,
                self._carry,
            )
            if done == len(records):
                break
            self._make_room(records[done], block.first_position + done)
        if self._carry[_PAYLOAD_AT] != len(payloads):
            raise UnsupportedTransaction(f"block {block.index} has payloads that no record speaks of")
        return results

    def executed(self, client_id: int) -> int:
        """Number of a client's transactions that were executed: each once, and a duplicate after that."""
        known = self._clients[: int(self._carry[_CLIENTS])]
        return int(known[known[:, _CLIENT_ID] == client_id, _EXECUTED].sum())

    def money_problems(self) -> list[str]:
        """Violations of two invariants: all balances sum up to 0, and only overdraft accounts are below 0."""
        accounts = self._cells[2]
        balances = accounts[:, _WORD].view(np.int64)
        problems = []
        total = int(balances.sum())
        if total:
            problems.append(f"all balances together are {total}, not 0: money was made or lost")
        overdrawn = np.flatnonzero((balances < 0) & (accounts[:, _VERSION] < _OVERDRAFT))
        if len(overdrawn):
            problems.append(f"{len(overdrawn)} accounts without overdraft are below 0, the first is {overdrawn[0]}")
        return problems

    def state_digest(self) -> int:
        """Digest of the whole state."""
        total = 0
        for kind, cells in enumerate(self._cells, start=1):
            numbers = np.flatnonzero(cells[:, _VERSION]).astype(np.uint64)
            word, version = cells[numbers, _WORD], cells[numbers, _VERSION]
            if kind == 3:
                key_digest = _mix(_mix(np.full(len(numbers), 16, np.uint64), numbers), _U0)
            else:
                key_digest = _mix(np.full(len(numbers), 8, np.uint64), numbers)
            digest = np.uint64(kind) | (version >> np.uint64(63)) << np.uint64(32)
            for part in (key_digest, word, version & ~_OVERDRAFT, np.zeros_like(word)):
                digest = _mix(digest, part)
            total += int(_finish(digest).sum(dtype=np.uint64))
        known = self._clients[: int(self._carry[_CLIENTS])]
        sessions = _mix(_mix(np.full(len(known), 4, np.uint64), known[:, _CLIENT_ID]), known[:, _HIGHEST])
        return (total + int(_finish(sessions).sum(dtype=np.uint64))) & ((1 << 64) - 1)

    def _make_room(self, record: npt.NDArray[np.uint64], position: int) -> None:
        """Grow the array that the kernel stopped for, or refuse the transaction."""
        stop, clients = int(self._carry[_STOP]), int(self._carry[_CLIENTS])
        is_transfer = int(record[7]) >> 16 & 0xFF == 6
        highest_key = max(int(record[2]), int(record[4]) if is_transfer else 0)
        if stop == _STOP_KEYS and highest_key < _KEYS_MAX:
            cells = np.zeros((3, 1 << highest_key.bit_length(), 2), np.uint64)
            cells[:, : self._cells.shape[1]] = self._cells
            self._cells = cells
            self._carry[_KEYS] = cells.shape[1]
        elif stop == _STOP_CLIENT and clients < _CLIENTS_MAX:
            if clients == len(self._clients):
                self._clients = np.concatenate([self._clients, np.zeros_like(self._clients)])
                self._windows = np.concatenate([self._windows, np.zeros_like(self._windows)])
            self._clients[clients, _CLIENT_ID] = record[0]
            self._carry[_CLIENTS] = clients + 1
        else:
            raise UnsupportedTransaction(f"transaction {position} is not one that `penstock load` makes")


def _mix(digest: npt.NDArray[np.uint64], word: npt.NDArray[np.uint64] | np.uint64) -> npt.NDArray[np.uint64]:
    product = (digest ^ word) * _K
    return product << np.uint64(29) | product >> np.uint64(35)


def _finish(digest: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    digest = (digest ^ digest >> np.uint64(32)) * _K
    return digest ^ digest >> np.uint64(29)


@njit(inline="always")
def _mixed(digest, word):
    product = (digest ^ word) * _K
    return product << np.uint64(29) | product >> np.uint64(35)


@njit(inline="always")
def _value_digest(payloads, start, length):
    digest = np.uint64(length)
    for at in range(start, start + length, 8):
        word = _U0
        for j in range(min(8, start + length - at)):
            word |= np.uint64(payloads[at + j]) << np.uint64(8 * j)
        digest = _mixed(digest, word)
    return digest


@eager(
    "int64(uint64[:, ::1], uint8[::1], int64, int64, "
    "uint64[:, :, ::1], uint64[:, ::1], uint8[:, ::1], uint8[::1], uint64[::1])"
)
def _apply(records, payloads, start, first_position, cells, clients, windows, results, carry):
    """Apply records from ``start`` on; returns their count, or the index of the first that could not be applied.

    ``carry[_STOP]`` says why.
    """
    values, counters, accounts = cells[0], cells[1], cells[2]
    keys = carry[_KEYS]
    digest = carry[_DIGEST]
    payload_at = np.int64(carry[_PAYLOAD_AT])
    slot = 0
    i = start
    stop = 0
    while i < len(records):
        client, sequence = records[i, 0], records[i, 1]
        key, operand_lo, operand_hi = records[i, 2], records[i, 4], records[i, 5]
        amount = np.int64(records[i, 6])
        meta = records[i, 7]
        operation = (meta >> np.uint64(16)) & np.uint64(0xFF)
        flags = (meta >> np.uint64(24)) & np.uint64(0xFF)
        length = np.int64(meta >> np.uint64(32))
        if clients[slot, _CLIENT_ID] != client or carry[_CLIENTS] == 0:
            slot = 0
            while slot < carry[_CLIENTS] and clients[slot, _CLIENT_ID] != client:
                slot += 1
            if slot == carry[_CLIENTS]:
                stop = _STOP_CLIENT
                break
        keyed = operation >= 2 and operation <= 5
        if (
            meta & np.uint64(0xFFFF) != 0
            or (flags != 0 and not (operation == 7 and flags == _FLAG_OVERDRAFT))
            or (operation != 1 and records[i, 3] != 0)
            or (keyed and operand_hi != 8)
            or (operation == 6 and operand_hi != 0)
            or operation - _U1 > 6
            or length > len(payloads) - payload_at
        ):
            stop = _STOP_GENERAL
            break
        if operation != 1 and (key >= keys or (operation == 6 and operand_lo >= keys)):
            stop = _STOP_KEYS
            break

        result = np.uint64(0)
        highest = clients[slot, _HIGHEST]
        if sequence > highest:
            for skipped in range(max(highest + _U1, sequence - min(sequence, np.uint64(_WINDOW))), sequence):
                windows[slot, skipped & np.uint64(_WINDOW - 1)] = 0
            clients[slot, _HIGHEST] = sequence
        elif highest - sequence >= np.uint64(_WINDOW):
            result = np.uint64(11)  # SEQUENCE_EXPIRED
        else:
            known = np.uint64(windows[slot, sequence & np.uint64(_WINDOW - 1)])
            if known != 0:
                result = known | np.uint64(128)  # DUPLICATE

        effect = _U0
        if result == 0:
            version = np.uint64(first_position + i + 1)
            result = _U1
            if operation == 6:
                debit, credit = np.int64(accounts[key, _WORD]), np.int64(accounts[operand_lo, _WORD])
                if key == operand_lo:
                    result = np.uint64(8)  # SAME_ACCOUNT
                elif accounts[key, _VERSION] == 0 or accounts[operand_lo, _VERSION] == 0:
                    result = np.uint64(7)  # ACCOUNT_NOT_FOUND
                elif debit < amount and accounts[key, _VERSION] < _OVERDRAFT:
                    result = np.uint64(6)  # INSUFFICIENT_FUNDS
                elif debit < np.int64(-_I64_MAX - 1) + amount or credit > np.int64(_I64_MAX) - amount:
                    result = np.uint64(4)  # OVERFLOW
                else:
                    left, right = np.uint64(debit - amount), np.uint64(credit + amount)
                    accounts[key, _WORD], accounts[operand_lo, _WORD] = left, right
                    accounts[key, _VERSION] = version | accounts[key, _VERSION] & _OVERDRAFT
                    accounts[operand_lo, _VERSION] = version | accounts[operand_lo, _VERSION] & _OVERDRAFT
                    spread = right * _K2
                    effect = left * _K1 ^ (spread << np.uint64(32) | spread >> np.uint64(32))
            elif operation == 5:
                old = np.int64(counters[key, _WORD])
                if (amount > 0 and old > np.int64(_I64_MAX) - amount) or (
                    amount < 0 and old < np.int64(-_I64_MAX - 1) - amount
                ):
                    result = np.uint64(4)  # OVERFLOW
                else:
                    counters[key, _WORD], counters[key, _VERSION] = np.uint64(old + amount), version
                    effect = np.uint64(old + amount) * _K1
            elif operation == 7:
                if accounts[key, _VERSION] != 0:
                    result = np.uint64(9)  # ACCOUNT_EXISTS
                else:
                    accounts[key, _VERSION] = version | (_OVERDRAFT if flags != 0 else _U0)
            elif operation == 3:
                if values[key, _VERSION] == 0:
                    result = np.uint64(2)  # KEY_NOT_FOUND
                values[key, :] = _U0
            elif operation == 4 and values[key, _VERSION] != operand_lo:
                result = np.uint64(3)  # VERSION_MISMATCH
            elif operation != 1:
                values[key, _WORD] = _value_digest(payloads, payload_at, length)
                values[key, _VERSION] = version
                effect = values[key, _WORD] * _K1
            windows[slot, sequence & np.uint64(_WINDOW - 1)] = result
            clients[slot, _EXECUTED] += _U1
        digest = _mixed(digest, result ^ effect)
        results[i] = result
        payload_at += length
        i += 1
    carry[_DIGEST] = digest
    carry[_PAYLOAD_AT] = payload_at
    carry[_STOP] = stop
    return i
