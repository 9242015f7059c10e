"""Sizes of the indexes of sessions and pages: twice what the bounds in force allow, so that searches stay short.

They have address space for the largest bounds, but use of it only what the bounds in force call for: slots are chosen
at random, and a large index would soon take all its memory for few sessions.
"""

from statestore.kernel.kernel_types import Page, Session
from statestore.kernel.layout import (
    ONE,
    PAGE_CAPACITY,
    PAGE_COUNT,
    PAGE_HASH,
    PAGE_INDEX,
    PAGE_INDEX_MASK,
    PAGE_NEXT,
    SESSION_CAPACITY,
    SESSION_CLIENT,
    SESSION_COUNT,
    SESSION_HORIZON_NS,
    SESSION_INDEX,
    SESSION_INDEX_MASK,
    SESSION_NEWEST_PAGE,
    SESSION_NEXT,
    WORD_BYTES,
    ZERO,
)
from statestore.kernel.sessions.offset_index import insert_slot
from statestore.kernel.sessions.order_of_use import ended_head, live_head
from statestore.kernel.sessions.session_table import client_hash
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words
from txqueue.jit.raw_memory import zero_bytes

SLOT_SHIFT = ONE
"""A slot is two words."""


@inner
def mask_for(count: U64) -> U64:
    """Slots - 1 of an index that holds up to `count`: a power of two, and at least twice as many."""
    mask = ONE
    while mask < count << ONE:
        mask = mask << ONE | ONE
    return mask


@inner
def empty(words: Words, table: U64, mask: U64) -> None:
    """Empties an index of `mask` + 1 slots."""
    zero_bytes(words, table * WORD_BYTES, (mask + ONE << SLOT_SHIFT) * WORD_BYTES)


@inner
def enter_all(words: Words, head: Session) -> None:
    """Enters the sessions of one order of use, and their pages, into empty indexes."""
    session = Session(words[head + SESSION_NEXT])
    while session != head:
        client = words[session + SESSION_CLIENT]
        insert_slot(words, words[SESSION_INDEX], words[SESSION_INDEX_MASK], client_hash(words, client), session)
        newest = words[session + SESSION_NEWEST_PAGE]
        page = Page(newest)
        while page != ZERO:
            insert_slot(words, words[PAGE_INDEX], words[PAGE_INDEX_MASK], words[page + PAGE_HASH], page)
            page = Page(words[page + PAGE_NEXT])
            if page == newest:
                break
        session = Session(words[session + SESSION_NEXT])


@inner
def set_bounds(words: Words, capacity: U64, horizon_ns: U64, page_capacity: U64) -> None:
    """Puts bounds into force: on sessions, their idle time, and the pages of results.

    What is above a lower bound stays until it may make room. It visits every session: some 50 ns for each of its pages.
    """
    words[SESSION_CAPACITY] = capacity
    words[SESSION_HORIZON_NS] = horizon_ns
    words[PAGE_CAPACITY] = page_capacity
    empty(words, words[SESSION_INDEX], words[SESSION_INDEX_MASK])
    empty(words, words[PAGE_INDEX], words[PAGE_INDEX_MASK])
    words[SESSION_INDEX_MASK] = mask_for(max(capacity, words[SESSION_COUNT]))
    words[PAGE_INDEX_MASK] = mask_for(max(page_capacity, words[PAGE_COUNT]))
    enter_all(words, live_head(words))
    enter_all(words, ended_head(words))
