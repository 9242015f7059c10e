"""Options of a client, one dataclass for each concern. The defaults suit most programs."""

from dataclasses import dataclass
from random import Random
from typing import Final

from penstock.client.arguments import TIMEOUT_S_MAX, integer, real
from penstock.contract.limits import FRAME_RECORDS_MAX, RESULT_WINDOW
from penstock.host.backoff import Backoff

_LEAST: Final = 1e-3
_DAY_MS: Final = 86_400_000.0
_FRAMES_MAX: Final = 1 << 31


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
        keep = object.__setattr__  # plain numbers, whatever kind was given
        keep(self, "linger_ms", real(self.linger_ms, "linger_ms", 0.0, _DAY_MS))
        keep(self, "size_max", integer(self.size_max, "size_max", 1, FRAME_RECORDS_MAX))
        keep(self, "eager_frames", integer(self.eager_frames, "eager_frames", 1, _FRAMES_MAX))


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryOptions:
    """Deadline and waits of retries. Attempt k waits a random time of 0 to min(cap, base * 2^k)."""

    deadline_s: float = 30.0
    """Time from the start of a frame or a read until the client gives up on an answer."""
    backoff_base_ms: float = 20.0
    backoff_cap_ms: float = 2_000.0

    def __post_init__(self) -> None:
        keep = object.__setattr__  # plain numbers, whatever kind was given
        keep(self, "deadline_s", real(self.deadline_s, "deadline_s", _LEAST, TIMEOUT_S_MAX))
        for name in ("backoff_base_ms", "backoff_cap_ms"):
            keep(self, name, real(getattr(self, name), name, _LEAST, _DAY_MS))

    def backoff(self, random: Random) -> Backoff:
        """Begin to count failures."""
        return Backoff(self.backoff_base_ms / 1e3, self.backoff_cap_ms / 1e3, random)


@dataclass(frozen=True, slots=True, kw_only=True)
class FlowOptions:
    """Bounds on what is in flight; submitters of more wait until there is room."""

    frames_max: int = 64
    transactions_max: int = RESULT_WINDOW // 2
    """Half of the window in which a node still knows a transaction's answer, so that a transaction is inside of it even
    when all newer ones overtake it."""

    def __post_init__(self) -> None:
        keep = object.__setattr__  # plain numbers, whatever kind was given
        keep(self, "frames_max", integer(self.frames_max, "frames_max", 1, _FRAMES_MAX))
        keep(self, "transactions_max", integer(self.transactions_max, "transactions_max", 1, RESULT_WINDOW))
