"""Options of a client, one dataclass for each concern. The defaults suit most programs."""

from dataclasses import dataclass

from penstock.client.errors import InvalidOperation
from penstock.contract.limits import FRAME_RECORDS_MAX, RESULT_WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """Batching of transactions that are submitted one by one."""

    linger_ms: float = 1.0
    """The longest time that a transaction waits for others while frames are in flight; with few in flight, none at
    all."""
    size_max: int = FRAME_RECORDS_MAX
    """Transactions of a frame, 1 to 10,000; a full frame is sent at once."""
    eager_frames: int = 4
    """While fewer frames than this are in flight, the next one is sent at once instead of lingering."""

    def __post_init__(self) -> None:
        if not 1 <= self.size_max <= FRAME_RECORDS_MAX:
            raise InvalidOperation(
                f"size_max is {self.size_max}, but a frame holds 1 to {FRAME_RECORDS_MAX} transactions"
            )
        if self.linger_ms < 0 or self.eager_frames < 1:
            raise InvalidOperation("linger_ms must not be negative, and eager_frames must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """Deadline and waits of retries. Attempt k waits a random time of 0 to min(cap, base * 2^k)."""

    deadline_s: float = 30.0
    """Time from the start of a frame or a read until the client gives up on an answer."""
    backoff_base_ms: float = 20.0
    backoff_cap_ms: float = 2_000.0

    def __post_init__(self) -> None:
        if min(self.deadline_s, self.backoff_base_ms, self.backoff_cap_ms) <= 0:
            raise InvalidOperation("deadline_s, backoff_base_ms and backoff_cap_ms must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """Bounds on what is in flight; submitters of more wait until there is room."""

    frames_max: int = 64
    transactions_max: int = RESULT_WINDOW // 2
    """Half of the window in which a node still knows a transaction's answer, so that a transaction is inside of it even
    when all newer ones overtake it."""

    def __post_init__(self) -> None:
        if self.frames_max < 1 or not 1 <= self.transactions_max <= RESULT_WINDOW:
            raise InvalidOperation(f"frames_max must be at least 1, and transactions_max 1 to {RESULT_WINDOW}")
