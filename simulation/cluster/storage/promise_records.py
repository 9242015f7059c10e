"""Promise records: what the protocol calls a promise, as the log's directory keeps it."""

from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation, Promise
from replication.log.directory.promise_record import PromiseRecord


def record_of(promise: Promise) -> PromiseRecord:
    """Return the record to be stored."""
    membership = promise.membership
    return PromiseRecord(
        promise.ballot,
        membership.generation,
        tuple(sorted(membership.voters)),
        tuple(sorted(membership.leaving)),
        tuple(sorted(membership.learners)),
        promise.incarnation.number,
        tuple((node, incarnation.number, incarnation.log_id) for node, incarnation in promise.incarnations),
        promise.voting,
        promise.commit_index,
    )


def promise_of(record: PromiseRecord, log_id: int) -> Promise:
    """Return the promise that a record of the log ``log_id`` holds; it names a membership."""
    return Promise(
        record.ballot,
        Membership(record.generation, frozenset(record.voters), frozenset(record.learners), frozenset(record.leaving)),
        Incarnation(record.incarnation, log_id),
        tuple((node, Incarnation(number, other_id)) for node, number, other_id in record.incarnations),
        record.voting,
        record.commit_index,
    )
