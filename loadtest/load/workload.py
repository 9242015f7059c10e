"""Workload: the operations of a load, the distribution of their keys, and the size of frames."""

from dataclasses import dataclass, field
from typing import Final

OPERATIONS: Final = {"append": 1, "put": 2, "delete": 3, "cas": 4, "add": 5, "transfer": 6, "open_account": 7}
"""The operations of the contract by the names that ``--mix`` takes."""

TREASURY: Final = 0
"""Number of the account that may be overdrawn, and from which all others get their first money."""
OPENING_BALANCE: Final = 1 << 40
"""Enough for hours of transfers before an account is empty."""
FRAME_RECORDS_MAX: Final = 10_000
FRAME_PAYLOAD_BYTES_MAX: Final = 4 << 20


class WorkloadError(ValueError):
    """A workload that cannot be run; the message names the option to change."""


@dataclass(frozen=True, slots=True)
class Workload:
    """A reproducible load: the same workload and seed give the same records.

    ``zipf`` is the exponent of the keys' distribution, 0 for uniform. ``mix`` gives each operation's share; shares are
    relative to their sum. Keys (accounts, counters and values alike) are the numbers 0 to ``accounts`` - 1.

    Raises:
        WorkloadError: a value is out of its range.
    """

    accounts: int = 100_000
    zipf: float = 0.0
    mix: dict[str, float] = field(default_factory=lambda: {"transfer": 100.0})
    frame: int = FRAME_RECORDS_MAX
    value_bytes: int = 64
    seed: int = 1

    def __post_init__(self) -> None:
        if not 2 <= self.accounts <= 1 << 26:
            raise WorkloadError(f"--accounts must be between 2 and {1 << 26}, not {self.accounts}")
        if not 1 <= self.frame <= FRAME_RECORDS_MAX:
            raise WorkloadError(f"--frame must be between 1 and {FRAME_RECORDS_MAX} records, not {self.frame}")
        if self.carries_payloads and not 1 <= self.value_bytes * self.frame <= FRAME_PAYLOAD_BYTES_MAX:
            raise WorkloadError(
                f"--frame {self.frame} of --value-bytes {self.value_bytes} may exceed the {FRAME_PAYLOAD_BYTES_MAX} "
                "payload bytes of a frame: lower one of them"
            )
        unknown = self.mix.keys() - OPERATIONS.keys()
        if unknown:
            raise WorkloadError(f"--mix knows no {', '.join(sorted(unknown))}; it knows {', '.join(OPERATIONS)}")
        if not self.mix or min(self.mix.values()) < 0 or sum(self.mix.values()) <= 0:
            raise WorkloadError("--mix needs at least one operation, and no negative share")

    @property
    def carries_payloads(self) -> bool:
        """Whether any operation of the mix has a payload."""
        return any(self.mix.get(name, 0) > 0 for name in ("append", "put", "cas"))


def parse_mix(text: str) -> dict[str, float]:
    """Read ``transfer=90,put=10``.

    Raises:
        WorkloadError: a share is not a number.
    """
    mix = {}
    for part in text.split(","):
        name, equals, share = part.partition("=")
        try:
            mix[name.strip()] = float(share) if equals else 100.0
        except ValueError:
            raise WorkloadError(f"--mix wants numbers, as in transfer=90,put=10; {part!r} has none") from None
    return mix


def parse_distribution(text: str) -> float:
    """Read ``uniform`` (0) or ``zipf:1.1`` (1.1): the exponent.

    Raises:
        WorkloadError: it is neither.
    """
    name, _, exponent = text.partition(":")
    if name == "uniform" and not exponent:
        return 0.0
    try:
        value = float(exponent or "1.0") if name == "zipf" else -1.0
    except ValueError:
        value = -1.0
    if not 0.0 < value <= 8.0:
        raise WorkloadError(f"--distribution is `uniform` or `zipf:EXPONENT` with 0 < EXPONENT <= 8, not {text!r}")
    return value
