"""Reasons: why a node refuses a call or a frame, as ``google.rpc.ErrorInfo`` names them.

Every reason that a node gives is here, and only here. The tables in ``docs/operations.md`` and in the comments of the
protos are generated from it (``make docs``).
"""

from enum import Enum, unique
from typing import Final, NamedTuple

ERROR_DOMAIN: Final = "penstock"
"""ErrorInfo's domain; reasons are unique within it."""


class _Terms(NamedTuple):
    status: str
    meaning: str
    action: str
    services: tuple[str, ...]
    retryable: bool = False
    outcome_known: bool = True


_TXQUEUE: Final = ("TxQueueService",)
_STATE: Final = ("StateService",)
_POOL: Final = ("PoolService",)
_TXQUEUE_AND_STATE: Final = _TXQUEUE + _STATE
_ALL: Final = ("TxQueueService", "StateService", "PoolService", "NodeService")

_HEALTH: Final = ("Health",)

_INVALID: Final = "INVALID_ARGUMENT"
_EXHAUSTED: Final = "RESOURCE_EXHAUSTED"


@unique
class Reason(Enum):
    """A reason; its name is what stands in ErrorInfo, and is stable."""

    REQUEST_MALFORMED = _Terms(_INVALID, "the message is not the request of this method", "send a whole one", _ALL)
    REQUEST_TOO_LARGE = _Terms(
        _INVALID, "the message is larger than any request of this method can be", "split the request", _ALL
    )
    METHOD_UNKNOWN = _Terms(
        "UNIMPLEMENTED", "the node has no such method", "check its name, and the node's version (GetStatus)", _ALL
    )
    FRAME_MALFORMED = _Terms(_INVALID, "the message is not a frame", "send a whole SubmitFrameRequest", _TXQUEUE)
    FRAME_EMPTY = _Terms(_INVALID, "the frame has no records", "send at least one record", _TXQUEUE)
    FRAME_TOO_LARGE = _Terms(
        _INVALID, "the frame has more records or payload bytes than one may have", "split the frame", _TXQUEUE
    )
    RECORD_SIZE_INVALID = _Terms(_INVALID, "the records are not a multiple of 64 bytes", "send whole records", _TXQUEUE)
    UNKNOWN_OPERATION = _Terms(
        _INVALID, "the operation is none of Operation's 1 to 8", "use one of these", _TXQUEUE_AND_STATE
    )
    UNKNOWN_FLAGS = _Terms(
        _INVALID, "a flag is set that does not exist or does not go with the operation", "clear it", _TXQUEUE
    )
    PAYLOAD_TOO_LARGE = _Terms(
        _INVALID, "a payload, its key included, is larger than 1 MiB", "split the payload", _TXQUEUE
    )
    LENGTH_OVERRUN = _Terms(
        _INVALID, "a record's lengths reach beyond the bytes that the frame has", "correct the lengths", _TXQUEUE
    )
    LENGTH_MISMATCH = _Terms(
        _INVALID,
        "the payloads have more bytes than the records' payload lengths add up to",
        "correct the lengths",
        _TXQUEUE,
    )
    END_LINKED = _Terms(_INVALID, "an END_SESSION is part of a chain", "send it alone, behind the chain", _TXQUEUE)
    CHAIN_OPEN = _Terms(_INVALID, "the last record is LINKED", "end a chain in the frame in which it starts", _TXQUEUE)
    SEQUENCE_INVALID = _Terms(_INVALID, "a sequence is not in 1 to 2^64-2", "count from 1", _TXQUEUE)
    SEQUENCE_BACKWARDS = _Terms(
        _INVALID,
        "a client's sequences do not increase from record to record of the frame",
        "put the records in order, each sequence once",
        _TXQUEUE,
    )
    AMOUNT_OUT_OF_RANGE = _Terms(
        _INVALID,
        "the amount does not go with the operation",
        "TRANSFER takes 1 to 2^63-1, ADD any amount, all other operations 0",
        _TXQUEUE,
    )
    KEY_MISSING = _Terms(_INVALID, "a key names no entry", "set one of value, counter and account", _STATE)
    KEY_LENGTH_INVALID = _Terms(
        _INVALID, "a key does not have 1 to 1,024 bytes", "use a key of such a length", _TXQUEUE_AND_STATE
    )
    KEY_PADDING_INVALID = _Terms(
        _INVALID, "bytes of the key field beyond the key's length are set", "clear them", _TXQUEUE
    )
    ACCOUNT_INVALID = _Terms(
        _INVALID, "an account does not have 16 bytes", "use 16 bytes, little-endian", _TXQUEUE_AND_STATE
    )
    UNUSED_FIELD_SET = _Terms(_INVALID, "a field that the operation does not use is set", "clear it", _TXQUEUE)
    UNEXPECTED_PAYLOAD = _Terms(_INVALID, "the operation takes no value", "leave the payload out", _TXQUEUE)
    NAMESPACE_INVALID = _Terms(_INVALID, "a namespace is above 65,535", "use one of 0 to 65,535", _TXQUEUE_AND_STATE)
    NAMESPACE_NOT_ALLOWED = _Terms(
        "PERMISSION_DENIED",
        "this node does not admit the namespace",
        "use another, or have the operator add it to admission.namespaces",
        _TXQUEUE_AND_STATE,
    )
    BATCH_TOO_LARGE = _Terms(_INVALID, "the request has more than 10,000 keys", "split the request", _STATE)
    ANSWER_TOO_LARGE = _Terms(_INVALID, "the values asked for do not fit one answer", "split the request", _STATE)
    POOL_SIZE_INVALID = _Terms(
        _INVALID, "a pool cannot have that size", "give at least 1, within pooling.bytes_max", _POOL
    )
    BORROWER_UNKNOWN = _Terms(
        _INVALID,
        "the node sees no process of this id",
        "give the process id that the borrower has on the node's host",
        _POOL,
    )

    QUEUE_FULL = _Terms(
        _EXHAUSTED,
        "the node's queue, or the room that unanswered frames may still need, is used up; nothing was taken",
        "send the frame again",
        _TXQUEUE,
        retryable=True,
    )
    IN_FLIGHT_LIMIT = _Terms(
        _EXHAUSTED,
        "too many frames, or reads, await their answers; nothing was taken",
        "send the request again when some have come",
        _TXQUEUE_AND_STATE,
        retryable=True,
    )
    CALLS_LIMIT = _Terms(
        _EXHAUSTED,
        "too many calls of this kind are open, of this connection or of all",
        "end some, or call again later",
        _ALL,
        retryable=True,
    )
    MEMORY_LIMIT = _Terms(
        _EXHAUSTED,
        "clients make the node hold too many bytes, and this call was waiting for a message; nothing was taken of it",
        "call again after the delay",
        _ALL,
        retryable=True,
    )
    REQUEST_LATE = _Terms(
        _EXHAUSTED,
        "the request did not come whole within 30 s; nothing was taken",
        "send it again, in smaller parts where the connection is slow",
        _ALL,
        retryable=True,
    )
    ANSWER_UNREAD = _Terms(
        _EXHAUSTED,
        "the client did not read its answer for 30 s, while the node had to hold it",
        "read answers as they come",
        _STATE,
    )
    LOG_FULL = _Terms(
        _EXHAUSTED,
        "the log's disk is full; nothing was taken",
        "the operator has to free disk space, then send the frame again: the node goes on by itself",
        _TXQUEUE,
        retryable=True,
    )
    LOG_BUSY = _Terms(
        _EXHAUSTED,
        "the node's system has no descriptor, memory or thread left for the log; nothing was taken",
        "send the request again: the node goes on by itself once the shortage has passed",
        _TXQUEUE_AND_STATE,
        retryable=True,
    )
    STATE_FULL = _Terms(
        _EXHAUSTED,
        "the state's tables are nearly full; nothing was taken",
        "the operator has to raise state.bytes_max and restart the node",
        _TXQUEUE,
    )
    BORROWERS_TOO_MANY = _Terms(
        _EXHAUSTED,
        "the node has no file descriptor left to watch another borrower with",
        "return buffers, or allow the node more open files",
        _POOL,
        retryable=True,
    )
    POOL_EXHAUSTED = _Terms(
        _EXHAUSTED, "all buffers are lent", "borrow again when some have come back", _POOL, retryable=True
    )
    SERVICE_UNKNOWN = _Terms(
        "NOT_FOUND",
        "the node has no service of this name",
        "ask for one that reflection lists",
        _HEALTH,
    )
    POOL_UNKNOWN = _Terms("NOT_FOUND", "there is no pool of this name", "use a name that GetPoolMetrics gives", _POOL)
    LEASE_UNKNOWN = _Terms(
        "NOT_FOUND", "the process has no such lease", "return a lease once, and as its borrower", _POOL
    )
    NOT_LOCAL = _Terms(
        "FAILED_PRECONDITION",
        "shared buffers are for processes of the node's own host, which reach it by a Unix socket or a loopback "
        "address",
        "submit frames instead",
        _POOL,
    )
    BLOCK_GONE = _Terms(
        "OUT_OF_RANGE", "the log no longer holds this block", "watch from 0, the oldest that it holds", _STATE
    )
    DIGEST_ELSEWHERE = _Terms(
        "FAILED_PRECONDITION",
        "the digest of the state takes time, and this address answers at once",
        "ask for it at one of listen.addresses",
        ("NodeService",),
    )
    LOG_DAMAGED = _Terms(
        "DATA_LOSS",
        "a block of the log is damaged; transactions and reads are not affected",
        "the operator has to restore the log; watch from a later block, or another node, until then",
        _STATE,
    )
    RESULTS_UNAVAILABLE = _Terms(
        "FAILED_PRECONDITION",
        "results of transactions could not be kept, for want of disk space; transactions and reads are not affected",
        "the operator has to free disk space and restart the node, which computes them again",
        _STATE,
    )
    INTERNAL_ERROR = _Terms(
        "INTERNAL",
        "the node made a mistake, and whether the request took effect is unknown",
        "tell the operator, who finds the cause in the node's log; the same ids may be sent again",
        _ALL,
        outcome_known=False,
    )
    SHUTTING_DOWN = _Terms(
        "UNAVAILABLE", "the node is shutting down; nothing was taken", "try again later", _ALL, retryable=True
    )
    NODE_FAILED = _Terms(
        "UNAVAILABLE",
        "the node stopped on an error, and whether the frame is in the log is unknown",
        "send the same ids again later",
        _TXQUEUE_AND_STATE,
        outcome_known=False,
    )

    @property
    def status(self) -> str:
        """The name of the gRPC status code."""
        return self.value.status

    @property
    def meaning(self) -> str:
        """What is wrong, for people."""
        return self.value.meaning

    @property
    def action(self) -> str:
        """What to do about it."""
        return self.value.action

    @property
    def services(self) -> tuple[str, ...]:
        """The services that give it, most of them of ``penstock.v1``."""
        return self.value.services

    @property
    def retryable(self) -> bool:
        """Whether a program may send the same request again by itself, after the delay in RetryInfo."""
        return self.value.retryable

    @property
    def outcome_known(self) -> bool:
        """Whether certainly nothing of a frame took effect; otherwise its ids are to be submitted again."""
        return self.value.outcome_known
