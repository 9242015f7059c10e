"""Refusal: why a call or a frame is not served, as a value.

It is not an exception: on a stream it answers one frame and harms no other. `services.rpc.rich_status` gives it the
form that gRPC carries.
"""

from dataclasses import dataclass

from penstock.contract.reasons import Reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """One refusal."""

    reason: Reason
    detail: str = ""
    """What is wrong and what to do about it, where more can be said than the reason's own words."""
    field: str = ""
    """The field of the request, where the input is to blame: for example ``records[3].amount``."""
    retry_after_ms: int = 20
    """How long to wait before trying again, in milliseconds; of no meaning where the reason is not retryable."""

    @property
    def message(self) -> str:
        """What is wrong and what to do about it, for people."""
        return self.detail or f"{self.reason.meaning}: {self.reason.action}"
