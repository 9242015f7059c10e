"""Stored promise: the protocol's promise in the record that the log keeps, which knows none of the protocol's types."""

from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation, Promise
from replication.log.directory.promise_record import PromiseRecord, PromiseStore


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
        if not record.generation:
            return None
        return Promise(
            record.ballot,
            Membership(
                record.generation,
                frozenset(record.voters),
                frozenset(record.learners),
                frozenset(record.leaving),
            ),
            Incarnation(record.incarnation, log_id),
            tuple((node, Incarnation(number, other_id)) for node, number, other_id in record.incarnations),
            record.voting,
            record.commit_index,
        )

    def store(self, promise: Promise) -> None:
        """Store it whole, synced on return.

        Raises:
            PromiseLost: the one before is damaged or missing.
            LogFailed: the disk failed, and what it holds is unknown: the node must stop.
        """
        membership = promise.membership
        self._store.store(
            PromiseRecord(
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
        )
