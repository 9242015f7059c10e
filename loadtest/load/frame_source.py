"""Generator of reproducible frames, at a few nanoseconds per record.

A frame is a pure function of (workload, client, frame number): every random word is a hash of a counter, not the next
state of a generator. So the verification of a run can generate any frame again
and compare it with the log, and no iteration of the loop waits for the one before.
"""

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from numba import njit

from loadtest.load.workload import OPENING_BALANCE, OPERATIONS, TREASURY, Workload
from loadtest.load.zipf import alias_table
from txqueue.jit.decorators import eager

U64Array = npt.NDArray[np.uint64]
U8Array = npt.NDArray[np.uint8]

SETUP_FRAME_RECORDS: Final = 10_000
_MIX_SLOTS: Final = 1024
_OVERDRAFT: Final = 2
_TILE: Final = 64
"""Records that are generated at a time where a frame is only compared: they stay in the fastest cache."""
DIFFERENCES: Final = ("", "records", "payloads")
"""The answers of :meth:`FrameSource.difference`; the first says that there is none."""


class FrameSource:
    """Generates the frames of one client. Not thread-safe."""

    def __init__(self, workload: Workload, client_id: int) -> None:
        self.workload = workload
        self.client_id = client_id
        self._operations = mix_slots(workload.mix)
        self._aliases = alias_table(workload.accounts, workload.zipf, workload.seed)
        self._own: tuple[U64Array, U8Array] | None = None

    def buffers(self) -> tuple[U64Array, U8Array]:
        """Arrays that hold any frame of this source: ``uint64[frame, 8]`` and ``uint8`` for its payloads."""
        workload = self.workload
        payload_bytes = workload.frame * workload.value_bytes if workload.carries_payloads else 0
        return np.empty((workload.frame, 8), np.uint64), np.empty(payload_bytes, np.uint8)

    def frame(self, number: int) -> tuple[U64Array, U8Array]:
        """Frame ``number`` in arrays of the source's own, valid until the next call."""
        if self._own is None:
            self._own = self.buffers()
        records, payloads = self._own
        return records, payloads[: self.fill(number, records, payloads)]

    def fill(self, number: int, records: U64Array, payloads: U8Array) -> int:
        """Write frame ``number`` (from 0) and return how many payload bytes it has.

        Frame f holds the client's sequences f * frame + 1 to (f + 1) * frame.
        """
        assert records.shape == (self.workload.frame, 8)
        return int(_fill(records, payloads, *self._arguments(number)))

    def difference(self, number: int, records: U64Array, payloads: U8Array) -> str:
        """The part of frame ``number`` that differs from these records and payloads: one of ``DIFFERENCES``."""
        if len(records) != self.workload.frame:
            return "records"
        return DIFFERENCES[_difference(records, payloads, *self._arguments(number))]

    def _arguments(self, number: int) -> tuple[Any, ...]:
        """Arguments of the kernels for frame ``number``."""
        workload = self.workload
        first_sequence = number * workload.frame + 1
        numbers = (self.client_id, first_sequence, workload.seed, workload.accounts, workload.value_bytes)
        return self._operations, self._aliases, *numbers


@dataclass(frozen=True, slots=True)
class AccountSetupSource:
    """The frames that prepare a load of transfers: open the treasury and all accounts, then fund each account."""

    workload: Workload
    client_id: int

    @property
    def frames(self) -> int:
        """Number of frames; all but the last have 10,000 records."""
        return -(-(2 * self.workload.accounts - 1) // SETUP_FRAME_RECORDS)

    def frame(self, number: int) -> tuple[U64Array, U8Array]:
        """Frame ``number`` (from 0): ``uint64[n, 8]``, n <= 10,000, and no payloads."""
        accounts = self.workload.accounts
        step = np.arange(
            number * SETUP_FRAME_RECORDS, min((number + 1) * SETUP_FRAME_RECORDS, 2 * accounts - 1), dtype=np.uint64
        )
        opens = step < accounts
        records = np.zeros((len(step), 8), np.uint64)
        records[:, 0] = self.client_id
        records[:, 1] = step + np.uint64(1)
        records[:, 2] = np.where(opens, step, np.uint64(TREASURY))
        records[:, 4] = np.where(opens, np.uint64(0), step - np.uint64(accounts - 1))
        records[:, 6] = np.where(opens, np.uint64(0), np.uint64(OPENING_BALANCE))
        flags = np.where(step == TREASURY, np.uint64(_OVERDRAFT << 24), np.uint64(0))
        operation = np.where(opens, np.uint64(OPERATIONS["open_account"]), np.uint64(OPERATIONS["transfer"]))
        records[:, 7] = operation << np.uint64(16) | flags
        return records, np.empty(0, np.uint8)

    def difference(self, number: int, records: U64Array, payloads: U8Array) -> str:
        """The part of frame ``number`` that differs from these records and payloads: one of ``DIFFERENCES``."""
        if not np.array_equal(self.frame(number)[0], records):
            return "records"
        return "payloads" if len(payloads) else ""


def mix_slots(mix: dict[str, float]) -> U8Array:
    """``uint8[1024]``: operations in proportion to their shares; the most frequent one takes what rounding leaves."""
    total = sum(mix.values())
    largest = max(mix, key=lambda name: mix[name])
    slots = np.full(_MIX_SLOTS, OPERATIONS[largest], np.uint8)
    start = 0
    for name, share in mix.items():
        if name != largest and share > 0:
            count = max(1, round(_MIX_SLOTS * share / total))
            slots[start : start + count] = OPERATIONS[name]
            start += count
    return slots


@njit(inline="always")
def _hash(counter):
    """The finaliser of splitmix64 (Steele, Lea and Flood, 2014) over a Weyl sequence."""
    word = counter * np.uint64(0x9E3779B97F4A7C15)
    word = (word ^ (word >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    word = (word ^ (word >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return word ^ (word >> np.uint64(31))


@njit(inline="always")
def _key(word, keys, aliases):
    """A key from a random word: its upper half draws a column, its lower half decides between key and alias."""
    column = ((word >> np.uint64(32)) * keys) >> np.uint64(32)
    if len(aliases) == 0:
        return column
    entry = aliases[column]
    if (word & np.uint64(0xFFFFFFFF)) <= entry >> np.uint64(32):
        return column
    return entry & np.uint64(0xFFFFFFFF)


@eager("int64(uint64[:, ::1], uint8[::1], uint8[::1], uint64[::1], uint64, uint64, uint64, uint64, uint64)")
def _fill(records, payloads, operations, aliases, client, sequence, seed, keys, value_bytes):
    one = np.uint64(1)
    stream = _hash(seed ^ _hash(client))
    payload_at = 0
    for i in range(len(records)):
        number = sequence + np.uint64(i)
        word = _hash(stream + (number << one))
        other = _hash(stream + (number << one) + one)
        operation = np.uint64(operations[other & np.uint64(1023)])
        key = _key(word, keys, aliases)
        operand_lo = operand_hi = amount = length = np.uint64(0)
        if operation == 6:
            # The lower half of `word` is spent on the first coin, so the second key has a hash of its own.
            operand_lo = _key(_hash(other), keys, aliases)
            if operand_lo == key:
                operand_lo = key + one if key + one < keys else np.uint64(0)
            amount = one + (other >> np.uint64(57))
        elif operation == 5:
            operand_hi = np.uint64(8)
            amount = (other >> np.uint64(57)) - np.uint64(64)
        elif operation != 7:
            operand_hi = np.uint64(0) if operation == 1 else np.uint64(8)
            if operation != 3:
                length = value_bytes
                for j in range(int(length)):
                    payloads[payload_at + j] = np.uint8(other >> np.uint64((j & 7) << 3))
                payload_at += int(length)
        records[i, 0] = client
        records[i, 1] = number
        records[i, 2] = key
        records[i, 3] = np.uint64(0)
        records[i, 4] = operand_lo
        records[i, 5] = operand_hi
        records[i, 6] = amount
        records[i, 7] = operation << np.uint64(16) | length << np.uint64(32)
    return payload_at


@eager("int64(uint64[:, ::1], uint8[::1], uint8[::1], uint64[::1], uint64, uint64, uint64, uint64, uint64)")
def _difference(records, payloads, operations, aliases, client, sequence, seed, keys, value_bytes):
    """Generate a frame again, tile by tile, and compare it; returns an index of ``DIFFERENCES``."""
    made, carried = np.empty((_TILE, 8), np.uint64), np.empty(_TILE * value_bytes, np.uint8)
    words, frame_words = made.reshape(-1), records.reshape(-1)  # comparing rows of eight is three times as slow
    payload_at = 0
    for start in range(0, len(records), _TILE):
        rows = min(_TILE, len(records) - start)
        first = sequence + np.uint64(start)
        used = _fill(made[:rows], carried, operations, aliases, client, first, seed, keys, value_bytes)
        part = frame_words[8 * start : 8 * (start + rows)]
        differing = np.uint64(0)
        for i in range(len(part)):
            differing |= words[i] ^ part[i]
        if differing != 0:
            return 1
        part_payloads = payloads[payload_at : payload_at + used]
        if len(part_payloads) < used:
            return 2
        for i in range(used):
            differing |= np.uint64(carried[i] ^ part_payloads[i])
        if differing != 0:
            return 2
        payload_at += used
    return 0 if payload_at == len(payloads) else 2
