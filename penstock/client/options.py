"""What a client may be told, one dataclass per concern; every default suits a program that was told nothing."""

from dataclasses import dataclass

from penstock.client.errors import InvalidOperation
from penstock.contract.limits import FRAME_RECORDS_MAX, RESULT_WINDOW


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchOptions:
    """How transactions submitted one by one become frames."""

    linger_ms: float = 1.0
    """The longest that a transaction waits for company while other frames are travelling. With few travelling it does
    not wait."""
    size_max: int = FRAME_RECORDS_MAX
    """Transactions of a frame, 1 to 10,000; a frame that is full leaves at once."""
    eager_frames: int = 4
    """While fewer frames than this are travelling, the next one leaves at once instead of lingering."""

    def __post_init__(self) -> None:
        if not 1 <= self.size_max <= FRAME_RECORDS_MAX:
            raise InvalidOperation(
                f"size_max is {self.size_max}, but a frame holds 1 to {FRAME_RECORDS_MAX} transactions"
            )
        if self.linger_ms < 0 or self.eager_frames < 1:
            raise InvalidOperation("linger_ms must not be negative, and eager_frames must be at least 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """How long and how patiently a client tries. Attempt k waits a random time of 0 to min(cap, base * 2^k)."""

    deadline_s: float = 30.0
    """From handing a frame (or a read) over until the client gives up on an answer."""
    backoff_base_ms: float = 20.0
    backoff_cap_ms: float = 2_000.0

    def __post_init__(self) -> None:
        if min(self.deadline_s, self.backoff_base_ms, self.backoff_cap_ms) <= 0:
            raise InvalidOperation("deadline_s, backoff_base_ms and backoff_cap_ms must be above 0")


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """How much may travel unanswered; whoever submits more waits until there is room."""

    frames_max: int = 64
    transactions_max: int = RESULT_WINDOW // 2
    """Half of the window in which a node still knows a transaction's answer: what is sent again, while as much of what
    is newer went ahead of it, is still inside."""

    def __post_init__(self) -> None:
        if self.frames_max < 1 or not 1 <= self.transactions_max <= RESULT_WINDOW:
            raise InvalidOperation(f"frames_max must be at least 1, and transactions_max 1 to {RESULT_WINDOW}")
