"""Adoption: making the own log equal to another's, block by block."""

from replication.consensus.interface.effects import Concern
from replication.consensus.interface.header import Header
from replication.consensus.node_state import NodeState


def adopt(state: NodeState, headers: tuple[Header, ...]) -> int:
    """Make the own log equal to another's up to the last of ``headers``; return the last index where it is.

    The block before the first of them must be equal in both. Equal blocks are passed over, so that what arrives twice
    or late cuts nothing; the own log is cut only behind a block that is *proven* to differ, by its hash.
    """
    outline = state.outline
    for place, header in enumerate(headers):
        if header.index <= outline.tip.index:
            own_hash = outline.hash_at(header.index)
            if own_hash == header.hash:
                continue
            if header.index <= state.commit_index:
                assert own_hash is None, "a committed block differs from the leader's"
                continue
            if outline.ballot_at(header.index) == header.ballot:
                state.alarm(Concern.LOG_DIFFERS, state.node, header.index)
                return header.index - 1
            state.truncate(header.index - 1)
        state.write(headers[place:])
        break
    return headers[-1].index
