"""Pages of results: what a session remembers, 32 sequences in a row to a page, taken when one of them is first used.

So a client takes memory for the results that it has, whatever sequences it chose: a gap takes none. Pages of the same
size lie one behind the other, and are free or belong to one session each. An index leads from a client and a sequence
to a page; the homes of eight successive pages of a client are neighbours, so that its searches share cache lines.
"""

from statestore.kernel.hashing import key_hash
from statestore.kernel.kernel_types import InlineKey, Page, Session
from statestore.kernel.layout import (
    LINE_WORDS,
    NO_PAGE_NUMBER,
    ONE,
    PAGE_CLIENT,
    PAGE_COUNT,
    PAGE_FREE_LIST,
    PAGE_INDEX,
    PAGE_INDEX_MASK,
    PAGE_NEXT,
    PAGE_NUMBER,
    PAGE_SEQUENCE_MASK,
    PAGE_SEQUENCE_SHIFT,
    PAGE_SEQUENCES,
    PAGE_SLOTS,
    PAGE_WORDS,
    PAGES,
    PAGES_USED,
    RESULT_WINDOW,
    SESSION_CLIENT,
    SESSION_NEWEST_PAGE,
    SESSION_PAGE,
    WORD_BYTES,
    ZERO,
)
from statestore.kernel.sessions.offset_index import OFFSET, home_slot, insert_slot, next_slot, remove_slot
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words, u64_range
from txqueue.jit.raw_memory import prefetch_to_write, zero_bytes

NO_PAGE = Page(ZERO)
NEIGHBOURS_SHIFT = U64(5)
NEIGHBOURS_MASK = U64(31)
PAGE_KEY = ONE
"""In place of the identity of an entry's key, for hashing."""


@inner
def page_hash(words: Words, client: U64, number: U64) -> U64:
    """Hash of a page: keyed, as nobody is to choose which pages are searched for in the same places."""
    return key_hash(words, InlineKey(client, number >> NEIGHBOURS_SHIFT, PAGE_KEY)) - (number & NEIGHBOURS_MASK)


@inner
def is_page_of(words: Words, page: Page, client: U64, number: U64) -> bool:
    """Whether a page is in use for these sequences of this client."""
    return words[page + PAGE_NUMBER] == number and words[page + PAGE_CLIENT] == client


@inner
def find_page(words: Words, session: Session, number: U64) -> Page:
    """A session's page of this number, or NO_PAGE."""
    client = words[session + SESSION_CLIENT]
    page = Page(words[session + SESSION_PAGE])
    if page != ZERO and words[page + PAGE_NUMBER] == number:
        return page
    hashed = page_hash(words, client, number)
    slot = home_slot(words[PAGE_INDEX], words[PAGE_INDEX_MASK], hashed)
    while words[slot + OFFSET] != ZERO:
        page = Page(words[slot + OFFSET])
        if words[slot] == hashed and is_page_of(words, page, client, number):
            return page
        slot = next_slot(words[PAGE_INDEX], words[PAGE_INDEX_MASK], slot)
    return NO_PAGE


@inner
def slot_of_sequence(page: Page, sequence: U64) -> U64:
    """Word offset of a sequence's slot in its page."""
    return page + PAGE_SLOTS + (sequence & PAGE_SEQUENCE_MASK)


@inner
def is_slot_of(words: Words, slot: U64, client: U64, sequence: U64) -> bool:
    """Whether a slot that was this sequence's of this client still is."""
    page = Page(slot - PAGE_SLOTS - (sequence & PAGE_SEQUENCE_MASK))
    return is_page_of(words, page, client, sequence >> PAGE_SEQUENCE_SHIFT)


@inner
def give_page(words: Words, session: Session, number: U64) -> Page:
    """A page for these sequences, which the session has no page for yet; there must be a free one."""
    page = Page(words[PAGE_FREE_LIST])
    if page != ZERO:
        words[PAGE_FREE_LIST] = words[page + PAGE_NEXT]
    else:
        page = Page(words[PAGES] + words[PAGES_USED] * PAGE_WORDS)
        words[PAGES_USED] += ONE
    words[PAGE_COUNT] += ONE
    client = words[session + SESSION_CLIENT]
    words[page + PAGE_CLIENT] = client
    words[page + PAGE_NUMBER] = number
    zero_bytes(words, (page + PAGE_SLOTS) * WORD_BYTES, PAGE_SEQUENCES * WORD_BYTES)
    newest = words[session + SESSION_NEWEST_PAGE]
    if newest == ZERO:
        words[page + PAGE_NEXT] = page
    else:
        words[page + PAGE_NEXT] = words[newest + PAGE_NEXT]
        words[newest + PAGE_NEXT] = page
    words[session + SESSION_NEWEST_PAGE] = page
    # A client that goes on gets the page that is its oldest now, or the one behind this one.
    ahead = words[page + PAGE_NEXT] if words[PAGE_FREE_LIST] == ZERO and newest != ZERO else page + PAGE_WORDS
    for line in u64_range(PAGE_WORDS // LINE_WORDS):
        prefetch_to_write(words, ahead + line * LINE_WORDS)
    insert_slot(words, words[PAGE_INDEX], words[PAGE_INDEX_MASK], page_hash(words, client, number), page)
    return page


@inner
def free_oldest_page(words: Words, session: Session) -> None:
    """Frees the page that a session took first."""
    newest = words[session + SESSION_NEWEST_PAGE]
    page = words[newest + PAGE_NEXT]
    assert UNCHECKED or words[page + PAGE_NUMBER] != NO_PAGE_NUMBER, "a page is freed twice"
    if page == newest:
        words[session + SESSION_NEWEST_PAGE] = ZERO
    else:
        words[newest + PAGE_NEXT] = words[page + PAGE_NEXT]
    hashed = page_hash(words, words[page + PAGE_CLIENT], words[page + PAGE_NUMBER])
    remove_slot(words, words[PAGE_INDEX], words[PAGE_INDEX_MASK], hashed, page)
    words[page + PAGE_NUMBER] = NO_PAGE_NUMBER
    words[page + PAGE_NEXT] = words[PAGE_FREE_LIST]
    words[PAGE_FREE_LIST] = page
    words[PAGE_COUNT] -= ONE


@inner
def free_all_pages(words: Words, session: Session) -> None:
    """Frees all pages of a session."""
    while words[session + SESSION_NEWEST_PAGE] != ZERO:
        free_oldest_page(words, session)
    words[session + SESSION_PAGE] = ZERO


@inner
def expired_pages(words: Words, session: Session, highest: U64) -> U64:
    """How many pages, in the order in which a session took them, hold nothing of the window below this sequence."""
    newest = words[session + SESSION_NEWEST_PAGE]
    count = ZERO
    page = newest
    while page != ZERO:
        page = words[page + PAGE_NEXT]
        last = words[page + PAGE_NUMBER] << PAGE_SEQUENCE_SHIFT | PAGE_SEQUENCE_MASK
        if last >= highest or highest - last < RESULT_WINDOW:
            break
        count += ONE
        if page == newest:
            break
    return count
