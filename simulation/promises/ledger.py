"""Ledger of a cluster's promises: what each node said, acknowledged, committed and applied, and whether it may.

It knows messages that left a node, blocks on disks (which the disks themselves tell), and what nodes announce to their
clients and state machines. Where a promise is broken it raises `Violation` at that very step.
"""

from collections.abc import Callable, Mapping
from typing import Final

from replication.consensus.interface.messages import Ack, Message, Sealed
from replication.consensus.interface.promise import Promise
from replication.log.ballot import NO_BALLOT, Ballot
from simulation.promises.violation import Rule, Violation
from simulation.world.disk import VirtualDisk


class Ledger:
    """What nodes promised so far. Nodes are numbers; a run of a node's process is a number, too."""

    def __init__(
        self, disks: Mapping[int, VirtualDisk], stored: Callable[[int], Promise | None], voters: frozenset[int]
    ) -> None:
        """Look at nodes' disks, and at the promise that stands on each."""
        self._disks, self._stored, self._voters = disks, stored, voters
        self._leaders: Final[dict[Ballot, tuple[int, int]]] = {}
        self._written: Final[dict[tuple[Ballot, int], bytes]] = {}
        self._sealed: Final[dict[int, Ballot]] = {}
        self._acknowledged: Final[dict[int, dict[Ballot, tuple[int, bytes]]]] = {}
        """By node and ballot, the last block that the node acknowledged."""
        self._commit_indexes: Final[dict[tuple[int, int], int]] = {}
        self._digests: Final[dict[int, int]] = {}
        self.committed: Final[list[bytes]] = [b""]
        """Hashes of the committed blocks by index, from 1."""

    @property
    def commit_index(self) -> int:
        """The highest index that any node said to be committed."""
        return len(self.committed) - 1

    @property
    def ballots_led(self) -> int:
        """How many ballots had a leader."""
        return len(self._leaders)

    def sends(self, node: int, message: Message) -> None:
        """Check a vote that leaves a node, which it cannot take back."""
        if isinstance(message, Ack):
            self._check_ack(node, message)
        elif isinstance(message, Sealed):
            sealed = self._sealed.get(node, NO_BALLOT)
            if message.ballot < sealed:
                raise Violation(
                    Rule.PROMISE_SURVIVES, f"node {node} sealed {tuple(message.ballot)} after {tuple(sealed)}"
                )
            self._sealed[node] = message.ballot
            stored = self._stored(node)
            if stored is None or stored.ballot < message.ballot:
                raise Violation(Rule.STORED_BEFORE_PROMISED, f"node {node} promised {tuple(message.ballot)} unstored")
            if message.voting:
                self._check_memory(node)

    def wiped(self, node: int) -> None:
        """Take note that a node's disk was replaced: it can keep no promise of its earlier one."""
        self._sealed.pop(node, None)

    def leads(self, node: int, run: int, ballot: Ballot, log: list[bytes]) -> None:
        """Check a node that begins to lead with a log (hashes by index, from 1)."""
        leader = self._leaders.setdefault(ballot, (node, run))
        if leader != (node, run):
            raise Violation(Rule.ONE_LEADER, f"{tuple(ballot)} is led by node, run {leader} and by {(node, run)}")
        if len(log) < len(self.committed) or log[self.commit_index] != self.committed[-1]:
            raise Violation(
                Rule.COMMITTED_SURVIVES,
                f"node {node} leads {tuple(ballot)} without the committed block {self.commit_index}",
            )

    def writes(self, node: int, ballot: Ballot, index: int, block_hash: bytes) -> None:
        """Check a block that goes into a node's log."""
        written = self._written.setdefault((ballot, index), block_hash)
        if written != block_hash:
            raise Violation(Rule.LOGS_MATCH, f"node {node} has another block {index} of {tuple(ballot)} than others")

    def cuts(self, node: int, after_index: int, log: list[bytes]) -> None:
        """Check a node that takes blocks off its log."""
        if after_index < self.commit_index and log[after_index + 1] == self.committed[after_index + 1]:
            raise Violation(Rule.COMMITTED_SURVIVES, f"node {node} cut the committed block {after_index + 1}")

    def commits(self, node: int, run: int, index: int, log: list[bytes]) -> None:
        """Check a node that says that all up to an index are committed."""
        before = self._commit_indexes.get((node, run), 0)
        if index < before:
            raise Violation(Rule.COMMIT_NEVER_BACK, f"node {node} committed {before}, then {index}")
        self._commit_indexes[node, run] = index
        if index >= len(log):
            raise Violation(Rule.COMMITTED_SURVIVES, f"node {node} committed {index}, its log ends at {len(log) - 1}")
        for known in range(before + 1, min(index, self.commit_index) + 1):
            if log[known] != self.committed[known]:
                raise Violation(Rule.COMMITTED_SURVIVES, f"node {node} committed another block {known}")
        if index > self.commit_index:
            if self.commit_index and log[self.commit_index] != self.committed[-1]:
                raise Violation(Rule.COMMITTED_SURVIVES, f"node {node} committed another block {self.commit_index}")
            holders = [voter for voter in self._voters if self._disks[voter].held(index, log[index])]
            if 2 * len(holders) <= len(self._voters):
                raise Violation(
                    Rule.DURABLE_ON_A_QUORUM, f"node {node} committed block {index}, durable on nodes {holders} alone"
                )
            self._check_survival(index, log[index])
            self.committed.extend(log[self.commit_index + 1 : index + 1])

    def applies(self, node: int, index: int, block_hash: bytes, digest: int) -> None:
        """Check a block that was applied, and the digest of all effects after it."""
        if index > self.commit_index or self.committed[index] != block_hash:
            raise Violation(Rule.COMMITTED_BEFORE_APPLIED, f"node {node} applied block {index}, not committed")
        if self._digests.setdefault(index, digest) != digest:
            raise Violation(Rule.DIGESTS_EQUAL, f"node {node} has another digest than others after block {index}")

    def _check_memory(self, node: int) -> None:
        """Check that a node whose promise counts has every committed block that it once acknowledged."""
        for index, block_hash in self._acknowledged.get(node, {}).values():
            is_committed = index <= self.commit_index and self.committed[index] == block_hash
            if is_committed and not self._disks[node].kept(index, block_hash):
                raise Violation(Rule.VOTERS_REMEMBER, f"node {node} votes without block {index}, which it acknowledged")

    def _check_survival(self, index: int, block_hash: bytes) -> None:
        """Check that the best log of every majority has a block: the highest ballot at its end, then the highest index.

        A log without it, or one that no majority would prefer, may be anything. One that was destroyed after it had
        the block does not vote.
        """
        tips = {}
        for voter in self._voters:
            disk = self._disks[voter]
            if disk.kept(index, block_hash) or not disk.held(index, block_hash):
                tips[voter] = disk.tip()
        for voter, tip in tips.items():
            if not self._disks[voter].kept(index, block_hash):
                followers = [other for other in tips if tips[other] <= tip]
                if 2 * len(followers) > len(self._voters):
                    raise Violation(
                        Rule.SURVIVES_WHOEVER_LEADS,
                        f"block {index} is committed, and {followers} would follow node {voter}, which lacks it",
                    )

    def _check_ack(self, node: int, ack: Ack) -> None:
        sealed = self._sealed.get(node, NO_BALLOT)
        if ack.ballot < sealed:
            raise Violation(
                Rule.SEALED_STAYS_SEALED,
                f"node {node} sealed {tuple(sealed)} and acknowledged block {ack.durable_index} to {tuple(ack.ballot)}",
            )
        if ack.durable_hash and not self._disks[node].held(ack.durable_index, ack.durable_hash):
            raise Violation(
                Rule.SYNCED_BEFORE_ACKNOWLEDGED, f"node {node} acknowledged block {ack.durable_index} before its sync"
            )
        if ack.durable_hash:
            self._acknowledged.setdefault(node, {})[ack.ballot] = ack.durable_index, ack.durable_hash
