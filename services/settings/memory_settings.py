"""Settings of what a node keeps in memory: the ring, the tables of the state, the object pools."""

from typing import Annotated, Literal, Self

from pydantic import ByteSize, Field, model_validator

from penstock.contract.record import RECORD_BYTES
from services.settings.written_values import MIB, OR_NONE, PAGE_BYTES, POWER_OF_TWO, Group
from statestore.session_bounds import SessionBounds
from txqueue.ring.wait_strategy import WaitStrategy


class QueueSettings(Group):
    """The ring between admission and the sequencer."""

    slots: Annotated[int, POWER_OF_TWO] = Field(default=4096, ge=512, le=1 << 16)
    """Frames that wait at most; a power of two."""
    producer_buffer_bytes: Annotated[ByteSize, POWER_OF_TWO] = Field(
        default=ByteSize(16 * MIB), ge=8 * MIB, le=1024 * MIB, multiple_of=PAGE_BYTES
    )
    """Each producer's own space for frames; the file is sparse, so only what was ever used takes memory."""
    wait: WaitStrategy = WaitStrategy.PARK
    """How the sequencer waits for a frame. ``park`` sleeps and takes no time when idle; ``yield`` and ``spin`` see a
    frame some microseconds sooner, and keep a core busy for that."""


class StateSettings(Group):
    """The tables of the state machine."""

    bytes_max: ByteSize = Field(default=ByteSize(8192 * MIB), ge=64 * MIB)
    """Address space set aside for the tables; pages are taken when first touched. A frame that the tables might not
    hold is refused (``STATE_FULL``)."""
    session_capacity: int = Field(default=262_144, ge=1, le=1 << 20)
    """Clients remembered at once for their sequences; fewer where half of ``session_bytes_max`` does not hold so many.
    This and the next two are written into the log: a node that is started with others changes them for all."""
    session_horizon_s: int = Field(default=3600, ge=1)
    """A client that is idle for less is remembered; where there is no room, one that was idle for longer makes it."""
    session_bytes_max: Annotated[ByteSize | None, OR_NONE] = Field(default=None, ge=MIB)
    """Part of ``bytes_max`` for clients and the results that are remembered of them, at most half of it; none: an
    eighth, and 1 GiB at most."""

    @model_validator(mode="after")
    def _check_session_bytes(self) -> Self:
        if self.session_bytes_max is not None and self.session_bytes_max > self.bytes_max // 2:
            raise ValueError(
                f"state.session_bytes_max {int(self.session_bytes_max)} is more than half of state.bytes_max "
                f"{int(self.bytes_max)}; lower it or raise that"
            )
        return self

    def session_bounds(self) -> SessionBounds:
        """Give the bounds on sessions that these settings ask for."""
        horizon_ns = self.session_horizon_s * 1_000_000_000
        if self.session_bytes_max is None:
            return SessionBounds.within(self.bytes_max, self.session_capacity, horizon_ns)
        return SessionBounds.of_bytes(self.session_capacity, horizon_ns, self.session_bytes_max)


class PoolingSettings(Group):
    """The object pools, and garbage collection."""

    bytes_max: ByteSize = Field(default=ByteSize(512 * MIB), ge=64 * MIB)
    """What the objects of any one pool may take at most, and what all pools hold together when they are sized anew."""
    transactions: int = Field(default=10_000, ge=1)
    """Single records at most, for transactions that are sent one by one."""
    block_bytes_max: ByteSize = Field(default=ByteSize(80 * MIB), ge=16 * MIB)
    """What the buffers of blocks may take, each counted as large as a block can be: header, records and payloads, 4.6
    MiB. The default makes 17 buffers; ``GetPoolMetrics`` gives the number in force (``max_total`` of the pool
    ``blocks``). When all hold blocks under way the ring fills, then clients are pushed back: more memory here makes
    queues longer, not the node faster."""
    messages: int = Field(default=50_000, ge=1)
    """Buffers shared with other processes of the host at most."""
    message_bytes: Annotated[ByteSize, POWER_OF_TWO] = Field(default=ByteSize(PAGE_BYTES), ge=PAGE_BYTES, le=MIB)
    """Size of each; a power of two."""
    preallocate: bool = False
    """Make all transactions and block buffers at start. Otherwise memory is set aside then, and each is made when first
    needed."""
    optimize_interval_s: float = Field(default=0.0, ge=0, le=3600)
    """Seconds between learning from the demand and sizing the pools by it; 0: only when asked to (``PoolService``)."""
    gc_schedule: Literal["idle", "python"] = "idle"
    """``idle``: collect garbage while nothing is under way, or by a small budget; ``python``: as Python decides."""

    @model_validator(mode="after")
    def _check_budget(self) -> Self:
        largest = max(self.transactions * RECORD_BYTES, self.block_bytes_max, self.messages * self.message_bytes)
        if largest > self.bytes_max:
            raise ValueError(
                f"pooling.transactions times {RECORD_BYTES}, pooling.block_bytes_max, and pooling.messages times "
                f"pooling.message_bytes, are each at most pooling.bytes_max {int(self.bytes_max)}; raise it or lower "
                "them"
            )
        return self
