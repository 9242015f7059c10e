"""Messages between nodes as bytes: the same after a journey, read by any protobuf library, and nothing else taken."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.v1 import replication_pb2 as pb
from replication.consensus.interface import messages
from replication.consensus.interface.header import Tip
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Extent, Message, Presence, Refusal, Run
from replication.consensus.interface.promise import Incarnation
from replication.log.ballot import Ballot
from replication.transport.wire_format import MalformedMessage, decode, encode

u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
ballots = st.builds(Ballot, u64, u32)
incarnations = st.builds(Incarnation, u64, u64)
hashes = st.binary(max_size=32)
tips = st.builds(Tip, u64, ballots, hashes, u64, u64)
extents = st.builds(Extent, tips, u64, st.lists(st.builds(Run, ballots, u64), max_size=4).map(tuple))
nodes = st.frozensets(st.integers(1, 7), min_size=1)
memberships = st.builds(
    Membership, st.integers(1, 2**64 - 1), nodes, st.just(frozenset({8, 9})), st.frozensets(st.integers(1, 7))
)
FIELDS: dict[str, st.SearchStrategy[object]] = {
    "ballot": ballots,
    "refused": ballots,
    "tip_ballot": ballots,
    "incarnation": incarnations,
    "incarnations": st.lists(st.tuples(u32, incarnations), max_size=4).map(tuple),
    "extent": extents,
    "membership": st.none() | memberships,
    "presence": st.sampled_from(Presence),
    "reason": st.sampled_from(Refusal),
    "headers": st.just(()),
    "voting": st.booleans(),
    "agrees": st.booleans(),
    "durable_hash": hashes,
}
KINDS = (
    messages.Suspect,
    messages.Suspected,
    messages.Seal,
    messages.Sealed,
    messages.Fetch,
    messages.Fetched,
    messages.OpenStream,
    messages.StreamOpened,
    messages.Append,
    messages.Heartbeat,
    messages.Ack,
    messages.Refused,
    messages.TakeOver,
    messages.Rejoin,
    messages.Rejoined,
)
any_message: st.SearchStrategy[Message] = st.one_of(
    [st.builds(kind, **{name: FIELDS.get(name, u64) for name in kind._fields}) for kind in KINDS]
)
with_blocks = (messages.Append, messages.Fetched)


@given(any_message, st.lists(st.binary(max_size=300), min_size=1, max_size=4))
def test_a_message_is_the_same_after_its_journey(message: Message, blocks: list[bytes]) -> None:
    sent = blocks if isinstance(message, with_blocks) else []
    received, views = decode(encode(message, sent), message.ballot.node)
    assert received == message
    assert type(received) is type(message)
    assert [bytes(view) for view in views] == sent


@given(any_message, st.lists(st.binary(max_size=300), max_size=4))
def test_any_protobuf_library_reads_what_is_sent(message: Message, blocks: list[bytes]) -> None:
    request = pb.DeliverRequest.FromString(encode(message, blocks))
    assert list(request.blocks) == blocks
    assert getattr(request, str(request.WhichOneof("message"))).ballot.epoch == message.ballot.epoch


def test_every_kind_of_message_has_its_fields_in_the_contract() -> None:
    stated = pb.DeliverRequest.DESCRIPTOR.oneofs_by_name["message"].fields
    fields = {
        field.message_type.name: [part.name for part in field.message_type.fields]
        for field in stated
        if field.message_type
    }
    fields["Append"] = fields.pop("AppendBlocks")
    assert fields == {kind.__name__: [name for name in kind._fields if name != "headers"] for kind in KINDS}


@given(st.binary(max_size=200))
def test_other_bytes_are_malformed_or_a_message_and_never_an_error_of_another_kind(encoded: bytes) -> None:
    with contextlib.suppress(MalformedMessage):
        decode(encoded, 1)


@given(any_message, st.data())
def test_a_message_that_is_cut_short_is_malformed(message: Message, data: st.DataObject) -> None:
    encoded = encode(message, [b"block"] if isinstance(message, with_blocks) else [])
    kept = data.draw(st.integers(0, len(encoded) - 1))
    if isinstance(message, messages.Fetched) and kept == len(encode(message)):
        return  # the answer of a node that has no such block
    with pytest.raises(MalformedMessage):
        decode(encoded[:kept], message.ballot.node)


@pytest.mark.parametrize("kind", [messages.Seal, messages.OpenStream, messages.TakeOver, messages.Fetch])
def test_only_a_ballots_own_node_speaks_under_it(kind: type[messages.Seal]) -> None:
    fields = dict.fromkeys(kind._fields, 1)
    with pytest.raises(MalformedMessage, match="node 3 speaks as the leader of node 2's ballot"):
        decode(encode(kind(**fields | {"ballot": Ballot(5, 2)})), 3)  # type: ignore[arg-type]  # of all kinds alike


def test_blocks_travel_with_the_messages_that_are_about_blocks_only() -> None:
    with pytest.raises(MalformedMessage, match="seal with 1 blocks"):
        decode(encode(messages.Seal(Ballot(1, 1), 1), [b"block"]), 1)
    with pytest.raises(MalformedMessage, match="append with 0 blocks"):
        decode(encode(messages.Append(Ballot(1, 1), 1, 1, (), 0)), 1)


def test_a_value_that_a_field_cannot_have_is_malformed() -> None:
    request = pb.DeliverRequest(fetched=pb.Fetched(presence=pb.PRESENCE_UNSPECIFIED))
    with pytest.raises(MalformedMessage, match="Fetched with a value that it cannot have"):
        decode(request.SerializeToString(), 1)
    empty = pb.DeliverRequest(
        refused=pb.Refused(reason=pb.REFUSAL_KIND_GENERATION, membership=pb.Membership(generation=1))
    )
    with pytest.raises(MalformedMessage, match="Refused with a value"):
        decode(empty.SerializeToString(), 1)
