"""Stored promise: the protocol's promise in the record that the log keeps, which knows none of the protocol's types."""

from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation, Promise
from replication.log.directory.promise_record import PromiseRecord, PromiseStore


def record_of(promise: Promise) -> PromiseRecord:
    """Return the record that keeps a promise."""
    membership = promise.membership
    return PromiseRecord(
        promise.ballot,
        membership.generation,
        tuple(sorted(membership.voters)),
        tuple(sorted(membership.leaving)),
        tuple(sorted(membership.learners)),
        promise.incarnation.number,
        tuple((node, other.number, other.log_id) for node, other in promise.incarnations),
        promise.voting,
        promise.commit_index,
    )


def promise_of(record: PromiseRecord, log_id: int) -> Promise:
    """Return the promise that a record of the log ``log_id`` keeps; it must name a membership."""
    return Promise(
        record.ballot,
        Membership(record.generation, frozenset(record.voters), frozenset(record.learners), frozenset(record.leaving)),
        Incarnation(record.incarnation, log_id),
        tuple((node, Incarnation(number, other_id)) for node, number, other_id in record.incarnations),
        record.voting,
        record.commit_index,
    )


class StoredPromises:
    """Keeps a node's promise beside its log."""

    def __init__(self, store: PromiseStore) -> None:
        """Keep it in the ``promises`` of an open log."""
        self._store = store

    def read(self, log_id: int) -> Promise | None:
        """Return what was stored last by the node that has log ``log_id``; None where it knows no membership yet.

        Raises:
            PromiseLost: it is damaged or missing: the node must not vote.
            LogFailed: storing one failed, and what the disk holds is unknown.
        """
        record = self._store.read()
        return promise_of(record, log_id) if record.generation else None

    def store(self, promise: Promise) -> None:
        """Store it whole, synced on return.

        Raises:
            PromiseLost: the one before is damaged or missing.
            LogFailed: the disk failed, and what it holds is unknown: the node must stop.
        """
        self._store.store(record_of(promise))
