"""Broken leaders and candidates."""

from typing import Final

from replication.consensus import core as core_module
from replication.consensus.candidate import Candidate
from replication.consensus.interface.effects import ConfirmRead, OpenIntake
from replication.consensus.interface.events import EpochDecided, ReadRequested
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Ack
from replication.consensus.leader import Leader
from replication.consensus.node_state import NodeState
from replication.consensus.suspicion import Suspicion
from replication.log.ballot import Ballot
from simulation.variants.variant import Change, Variant


def _advance_by_copies(self: Leader, state: NodeState) -> None:
    """`Leader._advance` without looking at the ballot of the block that a quorum has."""
    durable = {peer.node: peer.durable_index for peer in self.peers.values() if peer.counts}
    durable[state.node] = state.outline.durable_index
    index = state.membership.quorum_index(durable)
    if index <= state.commit_index:
        return
    state.commit(index)
    if not self.intake_opened and self.epoch_index:
        self.intake_opened = True
        state.effects.append(OpenIntake(self.ballot))


def _acknowledged_by_anyone(self: Leader, state: NodeState, sender: int, message: Ack) -> None:
    """`Leader.acknowledged` for answers of any stream, and of nodes that do not vote."""
    peer = self.peers[sender]
    peer.heard_ns = state.now_ns
    peer.counts = True
    peer.round = max(peer.round, message.round)
    peer.acknowledge(min(message.durable_index, state.outline.tip.index))
    self._advance(state)
    self.reads.confirm(state, self._quorum_answered(state, self.reads.round))
    self._ask_round(state)
    peer.send(state, self.ballot)


def _ack_of_any_ballot(self: core_module.Core, sender: int, message: Ack) -> None:
    if self.leader is not None:
        _acknowledged_by_anyone(self.leader, self.state, sender, message)


def _choose_own_log(self: Candidate, state: NodeState) -> bool:
    """`Candidate._choose` without a look at the others' logs."""
    return state.membership.is_quorum([state.node, *self._votes(state)])


def _minority_index(self: Membership, durable: dict[int, int]) -> int:
    values = sorted((durable.get(node, 0) for node in self.voters), reverse=True)
    return values[len(values) // 2 - 1]


def _minority_is_quorum(self: Membership, nodes: list[int]) -> bool:
    return 2 * len(frozenset(nodes) & self.voters) >= len(self.voters) - 1


def _read_without_asking(self: core_module.Core, event: ReadRequested) -> None:
    """`Core._read_requested` that takes its own word for its leadership."""
    if self.leader is None:
        core_refuse(self, event)
    else:
        self.state.effects.append(ConfirmRead(event.read, self.state.commit_index))


core_refuse: Final = core_module._ON_EVENT[ReadRequested]


def _epoch_of_the_coordinator(self: Suspicion, state: NodeState, event: EpochDecided) -> Ballot | None:
    """`Suspicion.decided` that takes any epoch given to this node, though it is not above what was promised."""
    state.coordinator_epoch = event.epoch
    if not self.wanted_epoch or event.node != state.node:
        return None
    self.calm()
    return Ballot(event.epoch, event.node)


BROKEN_LEADERS: Final = (
    Variant(
        "counts-copies-of-old-ballots",
        "A block of an earlier ballot is committed by one of the leader's own, never by its copies.",
        (Change(Leader, "_advance", _advance_by_copies),),
    ),
    Variant(
        "counts-acknowledgements-of-other-streams",
        "Only what was acknowledged in this stream of this ballot counts.",
        (
            Change(Leader, "acknowledged", _acknowledged_by_anyone),
            Change(core_module._ON_MESSAGE, Ack, _ack_of_any_ballot),
        ),
    ),
    Variant(
        "leads-with-its-own-log",
        "A candidate takes over the log of the highest rank of a quorum.",
        (Change(Candidate, "_choose", _choose_own_log),),
    ),
    Variant(
        "commits-without-a-quorum",
        "Committed is what a majority has.",
        (Change(Membership, "quorum_index", _minority_index),),
    ),
    Variant(
        "leads-without-a-quorum",
        "Only a majority's promises make a leader.",
        (Change(Membership, "is_quorum", _minority_is_quorum),),
    ),
    Variant(
        "reads-without-asking",
        "A read is confirmed by a quorum after it was asked for.",
        (Change(core_module._ON_EVENT, ReadRequested, _read_without_asking),),
    ),
    Variant(
        "trusts-the-coordinator",
        "A ballot is tried only if it is higher than all that were promised.",
        (Change(Suspicion, "decided", _epoch_of_the_coordinator),),
    ),
)
"""Rules that a leader or candidate keeps."""
