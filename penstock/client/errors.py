"""Errors of the clients, all of them a :class:`PenstockError`. A transaction's rejection is a result and no error."""

import grpc


class PenstockError(Exception):
    """Root of all errors of this client."""


class ClientClosed(PenstockError):
    """The client was closed; make a new one."""


class UnsupportedRuntime(PenstockError):
    """A client cannot run in this process; the message says why, and what to do."""


class InvalidOperation(PenstockError, ValueError):
    """An argument that no node would take. Raised before anything is sent."""


class OutcomeUnknown(PenstockError):
    """No answer came in time: the transactions may have taken effect, or may yet.

    Submit them again under the same ids to find out: they take effect at most once, and the answer is the first one's.
    """

    def __init__(self, client_id: int, first_sequence: int, count: int, cause: str) -> None:
        super().__init__(client_id, first_sequence, count, cause)
        self.client_id = client_id
        self.first_sequence = first_sequence
        self.count = count
        self.cause = cause

    def __str__(self) -> str:
        return (
            f"no answer for {self.count} transaction(s) from sequence {self.first_sequence} of client {self.client_id} "
            f"({self.cause}): submit again with the same client_id and sequence to learn the outcome"
        )


class SequenceReused(PenstockError):
    """Another program, or an earlier run, used this client's id and sequences, so some transactions took no effect.

    Leave ``client_id`` out, or give a ``next_sequence`` that was never used.
    """

    def __init__(self, client_id: int, first_sequence: int) -> None:
        super().__init__(client_id, first_sequence)
        self.client_id = client_id
        self.first_sequence = first_sequence

    def __str__(self) -> str:
        return (
            f"transactions from sequence {self.first_sequence} of client {self.client_id} had been submitted before, "
            "by somebody else: some of these did nothing. Leave client_id out, or give a next_sequence never used"
        )


class Refused(PenstockError):
    """A node refused a call or a frame; nothing of it took effect.

    ``code`` is the gRPC status code; ``reason`` is the ErrorInfo reason (stable, for programs), ``details`` its
    metadata; ``retry_delay_s`` is what the node asked to wait before another try, where it did.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int = grpc.StatusCode.UNKNOWN.value[0],
        reason: str = "",
        details: dict[str, str] | None = None,
        retry_delay_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.details = details or {}
        self.retry_delay_s = retry_delay_s


class InvalidRequest(Refused):
    """The input breaks the contract; ``violations`` name the fields and say how. A retry cannot help."""

    violations: tuple[tuple[str, str], ...] = ()
    """(field, description) pairs."""


class OutOfRange(InvalidRequest):
    """A log index or another number lies outside what the node holds."""


class BlockGone(OutOfRange):
    """The log no longer holds the block to watch from; watch from 0, the oldest that it holds."""


class NotPermitted(Refused):
    """The caller may not use this namespace or this call, or is not authenticated."""


class NotSupported(Refused):
    """The node does not know this call: it is older than this client, or another service is at the address."""


class NotReady(Refused):
    """The node cannot serve this in its present condition, which the message names."""


class Full(Refused):
    """The node has no room, and waiting makes none; the message says what the operator has to do."""


class Overloaded(Refused):
    """The node was overloaded until the deadline; send less, or allow a longer deadline."""


class Unavailable(Refused):
    """No node could be reached, or none answered, before the deadline."""


class ServerError(Refused):
    """The node failed without an explanation; its log has one."""
