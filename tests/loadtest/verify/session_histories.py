"""Hostile histories of a few clients: retries, keys used again, chains with repeats, ends, clocks that jump."""

import struct
from dataclasses import dataclass

from hypothesis import strategies as st

from loadtest.verify.session_ledger import WINDOW, SessionBounds
from tests.loadtest.verify.transactions import record

Transaction = tuple[bytes, bytes]

APPEND, PUT, DELETE, CAS, ADD, TRANSFER, OPEN, END_SESSION, SET_SESSION_BOUNDS = range(1, 10)
LINKED = 1
HORIZON_NS = 1600
CLIENTS = 6


@dataclass(frozen=True)
class Block:
    """A block to be: its transactions, and its time."""

    transactions: list[Transaction]
    time_ns: int


def end_session(sequence: int, *, client: int = 1) -> Transaction:
    """The record that ends a session."""
    return struct.pack("<QQ40xHBBI", client, sequence, 0, END_SESSION, 0, 0), b""


def set_bounds(bounds: SessionBounds) -> Transaction:
    """The record by which a node sets the bounds in force."""
    fields = (bounds.horizon_ns, bounds.pages, bounds.sessions, 0, SET_SESSION_BOUNDS, 0, 0)
    return struct.pack("<32xQQqHBBI", *fields), b""


def add(sequence: int, *, client: int = 1, amount: int = 1, key: int = 0, linked: bool = False) -> Transaction:
    """An ADD to one of the counters that both models have arrays for."""
    flags = LINKED if linked else 0
    return record(ADD, sequence, client=client, key=key.to_bytes(8, "little"), amount=amount, flags=flags)


# Sequences that meet: the same ones, pages' edges, the window's edges and jumps over it.
_NEAR = [*range(1, 7), *range(1, 4), 31, 32, 33, 64, 96, 160]
_near = st.sampled_from(_NEAR)
_all = st.sampled_from([*_NEAR, WINDOW, WINDOW + 1, WINDOW + 32, WINDOW + 64, 3 * WINDOW])
_clients = st.integers(1, CLIENTS)
_pauses = st.sampled_from([0, 0, 1, 24, 25, 26, 99, 100, 101, 400, HORIZON_NS, 1 << 40, -1, -500, -(1 << 40)])


@st.composite
def bounds(draw: st.DrawFn) -> SessionBounds:
    """Bounds that a few clients reach."""
    return SessionBounds(
        draw(st.sampled_from([1, 3, 5, 9])),
        draw(st.sampled_from([16, 400, HORIZON_NS])),
        draw(st.sampled_from([1, 4, 9, 40])),
    )


@st.composite
def _single(draw: st.DrawFn, linked: bool, sequences: st.SearchStrategy[int]) -> Transaction:
    client, sequence = draw(_clients), draw(sequences)
    kind = draw(st.sampled_from([ADD, ADD, ADD, DELETE, PUT, OPEN, TRANSFER]))
    flags = LINKED if linked else 0
    key = draw(st.integers(0, 2))
    if kind == ADD:
        return add(sequence, client=client, amount=draw(st.sampled_from([1, 1, 2])), key=key, linked=linked)
    if kind in (DELETE, PUT):
        value = draw(st.binary(max_size=9)) if kind == PUT else b""
        return record(kind, sequence, client=client, key=key.to_bytes(8, "little"), value=value, flags=flags)
    if kind == OPEN:
        return record(OPEN, sequence, client=client, debit=key, flags=flags | draw(st.sampled_from([0, 2])))
    return record(TRANSFER, sequence, client=client, debit=key, credit=draw(st.integers(0, 2)), amount=1, flags=flags)


@st.composite
def histories(draw: st.DrawFn, *, jumps: bool = True) -> tuple[SessionBounds, list[Block]]:
    """Bounds, and blocks under them; most of what a block holds was sent before, the same or with another content.

    ``jumps``: whether sequences go so far on that earlier ones are no longer remembered.
    """
    sequences = _all if jumps else _near
    first_bounds, time_ns = draw(bounds()), 1 << 50
    sent: list[list[Transaction]] = []
    blocks: list[Block] = []
    for _ in range(draw(st.integers(1, 7))):
        time_ns += draw(_pauses)
        content: list[Transaction] = []
        for _ in range(draw(st.integers(1, 6))):
            what = draw(st.sampled_from(["new", "new", "retry", "retry", "chain", "chain", "end", "bounds"]))
            if what == "retry" and sent:
                chain = draw(st.sampled_from(sent))
            elif what == "end":
                chain = [end_session(draw(sequences), client=draw(_clients))]
            elif what == "bounds":
                chain = [set_bounds(draw(bounds()))]
            else:
                length = draw(st.integers(2, 5)) if what == "chain" else 1
                chain = [draw(_single(place < length - 1, sequences)) for place in range(length)]
                if length > 2 and draw(st.booleans()):  # one of the chain comes twice, linked both times
                    chain.insert(draw(st.integers(1, length - 1)), draw(st.sampled_from(chain[:-1])))
            sent.append(chain)
            content += chain
        blocks.append(Block(content, time_ns))
    return first_bounds, blocks
