"""Broken followers, promises and logs."""

from typing import Any, Final

from replication.consensus import adoption
from replication.consensus import core as core_module
from replication.consensus import follower as follower_module
from replication.consensus.follower import Follower
from replication.consensus.interface.effects import StorePromise
from replication.consensus.interface.events import BlocksDurable, PromiseStored
from replication.consensus.interface.header import Header
from replication.consensus.interface.promise import Promise
from replication.consensus.node_state import NodeState
from replication.consensus.rejoin import Rejoining
from simulation.cluster import node as node_module
from simulation.cluster.machine import Machine
from simulation.cluster.node import Node
from simulation.cluster.storage.log_thread import LogThread
from simulation.variants.variant import Change, Variant
from simulation.world.simulated_log import SimulatedLog


def _acknowledge_before_sync(self: LogThread) -> None:
    """`LogThread.sync` that only says so."""


def _promise_in_memory(self: Node, effect: StorePromise) -> None:
    """`Node._store_promise` that stores nothing."""
    self.tell(PromiseStored(effect.number, self.now_ns()))


def _promise_later(self: Node, effect: StorePromise) -> None:
    """`Node._store_promise` that lets replies leave before the record is stored."""
    _store_promise(self, effect)
    self.tell(PromiseStored(effect.number, self.now_ns()))


_store_promise: Final = node_module._PERFORM[StorePromise]


def _adopt_cutting(state: NodeState, headers: tuple[Header, ...]) -> int:
    """`adopt` that cuts behind whatever arrives, as if all that is longer differed."""
    first, last = headers[0].index, headers[-1].index
    tip = state.outline.tip.index
    if first <= state.commit_index or first > tip:
        return _adopt(state, headers)
    state.truncate(first - 1)
    state.write(headers)
    return last


_adopt: Final = adoption.adopt


def _commit_all(_: Follower, state: NodeState) -> None:
    """`Follower.commit` of whatever is durable here."""
    state.commit(max(state.commit_index, state.outline.durable_index))


def _commit_unmatched(self: Follower, state: NodeState) -> None:
    """`Follower.commit` of what the leader says, whether or not the blocks here are the leader's."""
    state.commit(max(state.commit_index, min(self.leader_commit_index, state.outline.durable_index)))


def _acknowledge_unmatched(self: Follower, state: NodeState) -> None:
    """`Follower.acknowledge` of all that is durable, whether or not it is the leader's."""
    self.matched_index = max(self.matched_index, state.outline.durable_index)
    _acknowledge(self, state)


_acknowledge: Final = Follower.acknowledge


def _any_ballot_binds(self: core_module.Core, sender: int, message: Any) -> bool:
    """`Core._binds` that refuses no lower ballot."""
    if message.ballot > self.state.promised:
        self._promise(message.ballot)
    if not self.state.bound:
        self._park(sender, message)
        return False
    return True


def _late_completion_counts(self: NodeState, event: BlocksDurable) -> bool:
    """`NodeState.durable` that looks at the index alone."""
    outline = self.outline
    self._cut_points.clear()
    if not outline.durable_index < event.durable_index <= outline.tip.index:
        return False
    outline.durable_index = event.durable_index
    return True


def _apply_whole_log(self: Node, commit_index: int) -> Any:
    """`Node._recover` that applies all blocks of the log, committed or not."""
    return _recover(self, max(commit_index, self.log.last_index))


_recover: Final = Node._recover


def _new_disk_votes(self: Machine, log: SimulatedLog) -> Promise:
    """`Machine._load` for which an empty disk is a new node's."""
    self.wiped = False
    return _load(self, log)


_load: Final = Machine._load


def _rejoin_at_once(self: Rejoining, state: NodeState, matched_index: int) -> bool:  # noqa: ARG001
    """`Rejoining.ended` that does not wait for the log."""
    state.bind(voting=True)
    return True


BROKEN_FOLLOWERS: Final = (
    Variant(
        "acknowledges-before-the-sync",
        "A block is synced before it is acknowledged.",
        (Change(LogThread, "sync", _acknowledge_before_sync),),
    ),
    Variant(
        "keeps-its-promise-in-memory",
        "A promise survives a restart.",
        (Change(node_module._PERFORM, StorePromise, _promise_in_memory),),
    ),
    Variant(
        "replies-before-the-promise",
        "A reply that rests on a promise leaves only once that is stored.",
        (Change(node_module._PERFORM, StorePromise, _promise_later),),
    ),
    Variant(
        "cuts-what-does-not-differ",
        "A log is cut only behind a block that is proven to differ.",
        (Change(follower_module, "adopt", _adopt_cutting),),
    ),
    Variant(
        "applies-what-is-durable",
        "Only what is committed is applied.",
        (Change(Follower, "commit", _commit_all),),
    ),
    Variant(
        "commits-what-does-not-match",
        "The leader's commit index holds up to the block that is proven to be the leader's.",
        (Change(Follower, "commit", _commit_unmatched),),
    ),
    Variant(
        "acknowledges-what-does-not-match",
        "Only blocks that are proven to be the leader's are acknowledged.",
        (Change(Follower, "acknowledge", _acknowledge_unmatched),),
    ),
    Variant(
        "seals-for-lower-ballots",
        "Lower ballots than the promised one are refused.",
        (Change(core_module.Core, "_binds", _any_ballot_binds),),
    ),
    Variant(
        "counts-late-completions",
        "A completion counts where the block there is still the one that was written.",
        (Change(NodeState, "durable", _late_completion_counts),),
    ),
    Variant(
        "replays-its-whole-log",
        "A start applies the log up to the stored commit index.",
        (Change(Node, "_recover", _apply_whole_log),),
    ),
    Variant(
        "votes-with-a-new-disk",
        "A node that lost its disk votes for nothing until it has recovered.",
        (Change(Machine, "_load", _new_disk_votes),),
    ),
    Variant(
        "votes-before-it-recovered",
        "A node that lost its disk has what it may have acknowledged before it votes.",
        (Change(Rejoining, "ended", _rejoin_at_once),),
    ),
)
"""Rules that a follower, its promise and its log keep."""
