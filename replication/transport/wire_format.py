"""Wire format of the messages between nodes: ``protos/penstock/v1/replication.proto``, blocks behind all else.

A block of 10,000 transactions has 640 kB. Putting it into a protobuf object and encoding that would copy it twice more,
and so would parsing: the join here copies it once, and a reader gets views of the message that came. Any protobuf
library reads and writes the same messages; the tests compare with the generated stubs.

Of blocks that travel with a message nothing is said besides: whoever gets them takes their headers from them.
"""

from collections.abc import Callable, Sequence
from typing import Any, Final

from google.protobuf.message import DecodeError
from google.protobuf.message import Message as Protobuf

from penstock.v1 import replication_pb2 as pb
from replication.consensus.interface import messages
from replication.consensus.interface.header import Tip
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.messages import Extent, Message, Presence, Refusal, Run
from replication.consensus.interface.promise import Incarnation
from replication.log.ballot import Ballot

Bytes = bytes | bytearray | memoryview

_BLOCKS_TAG: Final = b"\x0a"  # field 1, length-delimited
_LENGTH_DELIMITED: Final = 2
_BLOCKS_MAX: Final = 1024
"""Blocks in one message at most: a message of very many empty ones would keep its reader busy."""

_FIELD_OF: Final[dict[type, str]] = {
    messages.Suspect: "suspect",
    messages.Suspected: "suspected",
    messages.Seal: "seal",
    messages.Sealed: "sealed",
    messages.Fetch: "fetch",
    messages.Fetched: "fetched",
    messages.OpenStream: "open_stream",
    messages.StreamOpened: "stream_opened",
    messages.Append: "append",
    messages.Heartbeat: "heartbeat",
    messages.Ack: "ack",
    messages.Refused: "refused",
    messages.TakeOver: "take_over",
    messages.Rejoin: "rejoin",
    messages.Rejoined: "rejoined",
}
_KIND_OF: Final = {field: kind for kind, field in _FIELD_OF.items()}
_FROM_ITS_BALLOT: Final = (
    messages.Seal,
    messages.Fetch,
    messages.OpenStream,
    messages.Append,
    messages.Heartbeat,
    messages.TakeOver,
)
"""Only the node of a ballot says these under it."""


class MalformedMessage(Exception):
    """The bytes are no message of this protocol, or none that their sender may say."""


def encode(message: Message, blocks: Sequence[Bytes] = ()) -> bytes:
    """Encode a message, and the blocks that it names, in the order of its headers."""
    field = _FIELD_OF[type(message)]
    request = pb.DeliverRequest()
    _fill(getattr(request, field), message)
    parts: list[Bytes] = [request.SerializeToString()]
    for block in blocks:
        parts += (_BLOCKS_TAG, _encode_varint(memoryview(block).nbytes), block)
    return b"".join(parts)


def decode(encoded: bytes, sender: int) -> tuple[Message, list[memoryview]]:
    """Decode a message of node ``sender``: what it says, with ``headers`` left empty, and views of its blocks.

    Raises:
        MalformedMessage: the bytes are something else, or the sender may not say this.
    """
    spoken, blocks = _split(encoded)
    request = pb.DeliverRequest()
    try:
        request.ParseFromString(spoken)
    except DecodeError as error:
        raise MalformedMessage(f"node {sender} sent what is no message: is its version newer?") from error
    field = request.WhichOneof("message")
    if field is None:
        raise MalformedMessage(f"node {sender} sent a message of an unknown kind: is its version newer?")
    message = _read(_KIND_OF[field], getattr(request, field), sender)
    if isinstance(message, _FROM_ITS_BALLOT) and message.ballot.node != sender:
        raise MalformedMessage(f"node {sender} speaks as the leader of node {message.ballot.node}'s ballot")
    if isinstance(message, messages.Append) != bool(blocks) and not isinstance(message, messages.Fetched):
        raise MalformedMessage(f"node {sender} sent {field} with {len(blocks)} blocks")
    return message, blocks


def _fill(target: Any, message: Message) -> None:
    for name, value in zip(message._fields, message, strict=True):
        write = _WRITERS.get(name)
        if write is None:
            setattr(target, name, value)
        else:
            write(target, name, value)


def _read(kind: type, source: Any, sender: int) -> Message:
    try:
        values = {name: _READERS.get(name, getattr)(source, name) for name in kind._fields}  # type: ignore[attr-defined]  # all kinds are named tuples
    except (ValueError, AssertionError) as error:
        raise MalformedMessage(f"node {sender} sent {kind.__name__} with a value that it cannot have") from error
    message: Message = kind(**values)
    return message


def _write_ballot(target: Any, name: str, ballot: Ballot) -> None:
    _put_ballot(getattr(target, name), ballot)


def _put_ballot(target: pb.Ballot, ballot: Ballot) -> None:
    target.epoch, target.node = ballot
    target.SetInParent()


def _write_incarnation(target: Any, name: str, incarnation: Incarnation) -> None:
    _put_incarnation(getattr(target, name), incarnation)


def _put_incarnation(target: pb.Incarnation, incarnation: Incarnation) -> None:
    target.number, target.log_id = incarnation
    target.SetInParent()


def _write_incarnations(target: Any, name: str, incarnations: Sequence[tuple[int, Incarnation]]) -> None:
    for node, incarnation in incarnations:
        entry = getattr(target, name).add()
        entry.node = node
        _put_incarnation(entry.incarnation, incarnation)


def _write_extent(target: Any, name: str, extent: Extent) -> None:
    written: pb.Extent = getattr(target, name)
    tip = extent.tip
    written.tip.index = tip.index
    written.tip.hash = tip.hash
    written.tip.next_position = tip.next_position
    written.tip.time_ns = tip.time_ns
    _put_ballot(written.tip.ballot, tip.ballot)
    written.commit_index = extent.commit_index
    for run in extent.runs:
        _put_ballot((added := written.runs.add()).ballot, run.ballot)
        added.first_index = run.first_index


def _write_membership(target: Any, name: str, membership: Membership | None) -> None:
    if membership is not None:
        written: pb.Membership = getattr(target, name)
        written.generation = membership.generation
        written.voters.extend(sorted(membership.voters))
        written.learners.extend(sorted(membership.learners))
        written.leaving.extend(sorted(membership.leaving))


def _write_nothing(_: Any, __: str, ___: object) -> None:
    """Headers stand in the blocks."""


def _read_ballot(source: Any, name: str) -> Ballot:
    return _ballot(getattr(source, name))


def _ballot(source: pb.Ballot) -> Ballot:
    return Ballot(source.epoch, source.node)


def _read_incarnation(source: Any, name: str) -> Incarnation:
    return _incarnation(getattr(source, name))


def _incarnation(source: pb.Incarnation) -> Incarnation:
    return Incarnation(source.number, source.log_id)


def _read_incarnations(source: Any, name: str) -> tuple[tuple[int, Incarnation], ...]:
    return tuple((entry.node, _incarnation(entry.incarnation)) for entry in getattr(source, name))


def _read_extent(source: Any, name: str) -> Extent:
    found: pb.Extent = getattr(source, name)
    tip = found.tip
    return Extent(
        Tip(tip.index, _ballot(tip.ballot), tip.hash, tip.next_position, tip.time_ns),
        found.commit_index,
        tuple(Run(_ballot(run.ballot), run.first_index) for run in found.runs),
    )


def _read_membership(source: Any, name: str) -> Membership | None:
    if not source.HasField(name):
        return None
    found: pb.Membership = getattr(source, name)
    return Membership(found.generation, frozenset(found.voters), frozenset(found.learners), frozenset(found.leaving))


def _read_presence(source: Any, name: str) -> Presence:
    return Presence(getattr(source, name))


def _read_reason(source: Any, name: str) -> Refusal:
    return Refusal(getattr(source, name))


def _read_nothing(_: Protobuf, __: str) -> tuple[()]:
    return ()


_WRITERS: Final[dict[str, Callable[[Any, str, Any], None]]] = {
    "ballot": _write_ballot,
    "refused": _write_ballot,
    "tip_ballot": _write_ballot,
    "incarnation": _write_incarnation,
    "incarnations": _write_incarnations,
    "extent": _write_extent,
    "membership": _write_membership,
    "headers": _write_nothing,
}
"""How fields are written that are more than a number or bytes."""
_READERS: Final[dict[str, Callable[[Any, str], Any]]] = {
    "ballot": _read_ballot,
    "refused": _read_ballot,
    "tip_ballot": _read_ballot,
    "incarnation": _read_incarnation,
    "incarnations": _read_incarnations,
    "extent": _read_extent,
    "membership": _read_membership,
    "presence": _read_presence,
    "reason": _read_reason,
    "headers": _read_nothing,
}


def _split(encoded: bytes) -> tuple[bytes, list[memoryview]]:
    """Part a message into what a protobuf parser is to see of it, and its blocks."""
    if encoded[:1] == _BLOCKS_TAG:
        raise MalformedMessage("blocks come behind what is said about them")
    view, end = memoryview(encoded), len(encoded)
    offset = spoken_end = _end_of_field(encoded, 0) if encoded else 0
    blocks: list[memoryview] = []
    while offset < end:
        if encoded[offset : offset + 1] != _BLOCKS_TAG or len(blocks) == _BLOCKS_MAX:
            raise MalformedMessage("a message is one statement and its blocks")
        start, length = _decode_length(encoded, offset + 1)
        offset = start + length
        if offset > end:
            raise MalformedMessage("the message ends inside a block")
        blocks.append(view[start:offset])
    return encoded[:spoken_end], blocks


def _end_of_field(encoded: bytes, offset: int) -> int:
    if encoded[offset] & 7 != _LENGTH_DELIMITED:
        raise MalformedMessage("a message is one statement and its blocks")
    offset += 1 + (encoded[offset] >> 7)  # fields from 16 on have tags of two bytes
    start, length = _decode_length(encoded, offset)
    if start + length > len(encoded):
        raise MalformedMessage("the message ends inside what it says")
    return start + length


def _decode_length(encoded: bytes, offset: int) -> tuple[int, int]:
    """Return where a field's content begins, and its length."""
    length = shift = 0
    while shift < 35:
        if offset >= len(encoded):
            break
        byte = encoded[offset]
        offset += 1
        length |= (byte & 0x7F) << shift
        if byte < 0x80:
            return offset, length
        shift += 7
    raise MalformedMessage("the message has a length that no field has")


def _encode_varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)
