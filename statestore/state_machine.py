"""State machine: (state, block) -> (state, one result per transaction), the same on every node."""

from pathlib import Path
from random import Random, SystemRandom
from types import TracebackType
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from penstock.contract.limits import KEY_BYTES_MAX
from penstock.contract.record import RECORD_BYTES
from statestore.capacity import reserve_bytes
from statestore.errors import AnswerTooLarge, BlockOutOfOrder, RecordInvalid, StateFull
from statestore.kernel import layout
from statestore.kernel.apply import apply_block
from statestore.kernel.digest import state_digest
from statestore.kernel.execute import FULL
from statestore.kernel.hashing import hash_secrets
from statestore.kernel.layout import RegionLayout
from statestore.reads import COLUMNS, Entries, read_entries
from statestore.session_bounds import SessionBounds
from txqueue.jit.native_types import U64
from txqueue.region.region import Region

BYTES_MAX: int = 8 << 30
HASH_SEED_BITS: int = 128
READ_BUFFER_BYTES = 1 << 16
READ_VALUES_BYTES_MAX: int = 12 << 20
"""Leaves room for the keys and the rest of an answer in a message of 16 MiB."""
SYSTEM_RANDOM: Final = SystemRandom()


class StateMachine:
    """The tables that transactions change, and the only code that changes them.

    It is pure: no clock, no input but blocks, no randomness but the seed of the hashes. The same blocks, however cut,
    give the same results and digests with any `hash_seed`, and with the same one the same bytes. It is not thread-safe:
    one thread applies and reads; the compiled calls release the GIL.

    Args:
        path: a file that shall hold the tables and must not exist yet; None keeps them in memory without a name.
            Either is sparse: only touched pages take memory. State is recovered by replaying the log, not from here.
        bytes_max: most that entries, values and sessions should take. It is for admission to keep to it (`free_bytes`);
            the tables go on for a reserve beyond it, so that a log admitted under one seed fits under any other.
        session_bounds: those to begin with, as the log has them. None: an eighth of `bytes_max`, and 1 GiB at most.
        hash_seed: secret of 128 bits, without which nobody can choose keys whose hashes collide; None draws one. It
            decides where entries lie, and nothing else: no result, no digest.
        randomness: draws the seed.

    Raises:
        ValueError: a limit makes no sense.
        StateFull: there is no address space for as many sessions and results as the bounds allow.
        RegionError: the file or the memory cannot be had.
    """

    def __init__(
        self,
        path: Path | None = None,
        *,
        bytes_max: int = BYTES_MAX,
        session_bounds: SessionBounds | None = None,
        hash_seed: int | None = None,
        randomness: Random = SYSTEM_RANDOM,
    ) -> None:
        bounds = session_bounds or SessionBounds.within(bytes_max)
        plan = RegionLayout.plan(bytes_max, reserve_bytes(bytes_max))
        if bounds.page_capacity > plan.page_capacity_max:
            raise StateFull(
                f"sessions may take {bounds.bytes_max} bytes, for which there is no address space: set state.bytes_max "
                f"to at least {2 * bounds.bytes_max}"
            )
        self._bytes_max = bytes_max
        self._region = Region.create(path, plan.size, kind="state", version=layout.VERSION)
        self._words: NDArray[np.uint64] = self._region.words
        self._scratch: NDArray[np.uint64] = np.zeros(layout.SCRATCH_WORDS, dtype=np.uint64)
        self._arena_start = plan.arena // 8
        self._arena_end = plan.size // 8
        self._format(plan, bounds)
        first = int(layout.SECRET_LO)
        seed = randomness.getrandbits(HASH_SEED_BITS) if hash_seed is None else hash_seed
        self._words[first : first + layout.SECRET_WORDS] = hash_secrets(seed)
        self._region.complete()

    def _format(self, plan: RegionLayout, bounds: SessionBounds) -> None:
        first_bucket = self._arena_start
        first_row = plan.sessions // 8
        for head in (first_row, first_row + int(layout.SESSION_WORDS)):
            self._words[head + int(layout.SESSION_PREVIOUS)] = self._words[head + int(layout.SESSION_NEXT)] = head
        for word, value in (
            (layout.HASH_MASK, layout.HASH_ALL),
            (layout.DIRECTORY, plan.directory // 8),
            (layout.DIRECTORY_DEPTH_MAX, plan.directory_depth_max),
            (layout.BUCKETS_END, first_bucket + int(layout.BUCKET_WORDS)),
            (layout.HEAP_BOTTOM, self._arena_end),
            (layout.ARENA_START, self._arena_start),
            (layout.ARENA_END, self._arena_end),
            (layout.SESSIONS, first_row),
            (layout.SESSION_INDEX, plan.session_index // 8),
            (layout.SESSION_INDEX_MASK, layout.index_slots(bounds.capacity) - 1),
            (layout.SESSION_CAPACITY, bounds.capacity),
            (layout.SESSION_HORIZON_NS, bounds.horizon_ns),
            (layout.PAGES, plan.pages // 8),
            (layout.PAGE_INDEX, plan.page_index // 8),
            (layout.PAGE_INDEX_MASK, layout.index_slots(bounds.page_capacity) - 1),
            (layout.PAGE_CAPACITY, bounds.page_capacity),
            (layout.PAGE_CAPACITY_MAX, plan.page_capacity_max),
            (plan.directory // 8, first_bucket),
        ):
            self._words[word] = value

    def apply(
        self,
        body: NDArray[np.uint8],
        count: int,
        payload_bytes: int,
        first_position: int,
        time_ns: int,
        index: int,
        results: NDArray[np.uint8],
    ) -> None:
        """Applies one committed block.

        Args:
            body: uint8, 8-byte aligned: `count` records of 64 bytes, then `payload_bytes` of payloads.
            first_position: number in the log of the first record.
            time_ns: the block's time.
            index: the block's index.
            results: uint8[count], written: a result code per record, with DUPLICATE where it had been applied before.

        Raises:
            BlockOutOfOrder: the block does not follow the last one; nothing was applied.
            StateFull: there is no room for what the block creates; the node must stop.
            RecordInvalid: a record breaks the contract; the node must stop.
            AssertionError: an invariant does not hold; in a debug build only.
        """
        self._require_next(index, first_position)
        record_bytes = count * RECORD_BYTES
        assert results.size == count
        assert body.size >= record_bytes + payload_bytes
        records = body[:record_bytes].view(np.uint64)
        payloads = body[record_bytes : record_bytes + payload_bytes]
        # Always read-only, whatever the caller has: numba would compile the kernel once more for the other kind.
        records.flags.writeable = False
        payloads.flags.writeable = False
        stopped = int(
            apply_block(
                self._words,
                self._scratch,
                records,
                payloads,
                results,
                U64(first_position),
                U64(time_ns),
            )
        )
        if stopped:
            self._raise_stopped(index, first_position + (stopped >> 8), stopped & 0xFF)
        self._words[layout.APPLIED_INDEX] = index
        self._words[layout.APPLIED_POSITION] = first_position + count

    def _require_next(self, index: int, first_position: int) -> None:
        if (index, first_position) != (self.applied_index + 1, self.applied_position):
            raise BlockOutOfOrder(
                f"block {index} begins at position {first_position}, but the state is at block {self.applied_index} "
                f"and expects position {self.applied_position} next; apply the blocks of one log in order, each once"
            )

    def _raise_stopped(self, index: int, position: int, code: int) -> None:
        if code == FULL:
            raise StateFull(
                f"the state store is full at position {position} (block {index}): {self.entries} entries, "
                f"{self.table_bytes} bytes of {self.bytes_max}; nothing is lost: set a larger state.bytes_max and "
                "start the node again, it replays the log"
            )
        raise RecordInvalid(
            f"the record at position {position} (block {index}) is none that admission lets through: an unknown "
            "operation, lengths that overrun, or a chain left open; check the log with `penstock log verify`"
        )

    def read(
        self,
        kinds: NDArray[np.uint8],
        namespaces: NDArray[np.uint16],
        key_lengths: NDArray[np.uint16],
        keys: NDArray[np.uint8],
        values_bytes_max: int = READ_VALUES_BYTES_MAX,
    ) -> Entries:
        """Reads a batch of entries as of `applied_index`, in one compiled call.

        Args:
            kinds: n of KIND_VALUE, KIND_COUNTER, KIND_ACCOUNT (see `layout`).
            namespaces: n.
            key_lengths: n, in bytes: 1 to 1,024; 16 for accounts.
            keys: uint8, the keys' bytes one after the other.
            values_bytes_max: most that all values may have together.

        Raises:
            ValueError: the arrays do not fit together.
            AnswerTooLarge: the values are longer together; no memory was taken for them.
        """
        lengths = key_lengths.astype(np.uint64)
        if not kinds.size == namespaces.size == lengths.size or int(lengths.sum()) != keys.size:
            raise ValueError(
                f"{kinds.size} kinds, {namespaces.size} namespaces and {lengths.size} keys of {int(lengths.sum())} "
                f"bytes, but {keys.size} bytes of keys: give one of each per entry, and the keys one after the other"
            )
        if lengths.size and int(lengths.max()) > KEY_BYTES_MAX:
            raise ValueError(f"a key has {int(lengths.max())} bytes; at most {KEY_BYTES_MAX} are allowed")
        answers = np.empty((kinds.size, int(COLUMNS)), dtype=np.uint64)
        columns = (kinds.astype(np.uint64), namespaces.astype(np.uint64), lengths)
        readable = np.frombuffer(keys.tobytes(), dtype=np.uint8)
        values = np.empty(READ_BUFFER_BYTES, dtype=np.uint8)
        size = int(read_entries(self._words, *columns, readable, answers.ravel(), values))
        if size > values_bytes_max:
            raise AnswerTooLarge(size, values_bytes_max)
        if size > values.size:
            values = np.empty(size, dtype=np.uint8)
            read_entries(self._words, *columns, readable, answers.ravel(), values)
        return Entries(
            found=answers[:, 0].astype(np.bool_),
            versions=answers[:, 1].copy(),
            amounts=answers[:, 2].copy().view(np.int64),
            overdrafts=answers[:, 3].astype(np.bool_),
            value_offsets=np.concatenate((np.zeros(1, dtype=np.uint64), answers[:, 4])),
            values=values[:size],
        )

    @property
    def applied_index(self) -> int:
        """Index of the last applied block; 0: none."""
        return int(self._words[layout.APPLIED_INDEX])

    @property
    def applied_position(self) -> int:
        """Transactions applied: the next one's number in the log."""
        return int(self._words[layout.APPLIED_POSITION])

    @property
    def effects_digest(self) -> int:
        """Digest of every result so far and of every amount and value set, in the order of the log."""
        return int(self._words[layout.EFFECTS_DIGEST])

    def state_digest(self) -> int:
        """Digest of all entries and sessions. It visits each of them (20 ns): for checks, not for every block."""
        return int(state_digest(self._words))

    @property
    def entries(self) -> int:
        """Live values, counters and accounts."""
        return int(self._words[layout.ENTRY_COUNT])

    @property
    def sessions(self) -> int:
        """Clients whose sequences are remembered."""
        return int(self._words[layout.SESSION_COUNT])

    @property
    def bytes_max(self) -> int:
        """Most that entries and values should take."""
        return self._bytes_max

    @property
    def table_bytes(self) -> int:
        """What entries and values take of `bytes_max`; storage that was freed for reuse counts."""
        buckets = int(self._words[layout.BUCKETS_END]) - self._arena_start
        return (buckets + self._arena_end - int(self._words[layout.HEAP_BOTTOM])) * 8

    @property
    def free_bytes(self) -> int:
        """What is left of `bytes_max` besides the sessions' part; see `capacity.growth_bytes_max`.

        Asked for each frame, hence without `session_bounds`.
        """
        sessions = int(self._words[layout.SESSION_CAPACITY]) * layout.SESSION_BYTES
        pages = int(self._words[layout.PAGE_CAPACITY]) * layout.PAGE_COST_BYTES
        return max(0, self._bytes_max - sessions - pages - self.table_bytes)

    @property
    def session_bounds(self) -> SessionBounds:
        """Bounds on sessions in force."""
        words = self._words
        return SessionBounds(
            int(words[layout.SESSION_CAPACITY]),
            int(words[layout.SESSION_HORIZON_NS]),
            int(words[layout.PAGE_CAPACITY]),
        )

    @property
    def session_bytes(self) -> int:
        """What sessions and their results take of `bytes_max`."""
        return self.sessions * layout.SESSION_BYTES + int(self._words[layout.PAGE_COUNT]) * layout.PAGE_COST_BYTES

    def collide_hashes(self, mask: int) -> None:
        """Lets only these bits of hashes count. For tests of collisions, on an empty state machine."""
        assert self.entries == self.sessions == 0
        self._words[layout.HASH_MASK] = mask

    def close(self) -> None:
        """Gives the memory back. The state machine is of no use afterwards."""
        self._words = self._words[:0].copy()
        self._region.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
