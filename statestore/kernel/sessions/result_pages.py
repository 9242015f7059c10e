"""Pages of results: what a session remembers, 32 sequences in a row to a page, taken when one of them is first used.

So a client takes memory for the results that it has, whatever sequences it chose: a gap takes none. Pages of the same
size lie one behind the other, and are free or belong to one session each.

An index leads from a client and a sequence to a page. The homes of 32 successive pages of a client are neighbours, so
that its searches share cache lines. Its homes repeat after two windows: so a client that goes on for ever stays in one
part of the index. Where it wandered through all of it, every page of 4 KiB cost a fault once: 5 ns per transaction for
the first 33 million of them. (After one window, the pages before would still be there, in the way.)
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
    PAGE_HASH,
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
NEIGHBOURS_MASK = (ONE << NEIGHBOURS_SHIFT) - ONE
HOMES_MASK = (RESULT_WINDOW >> PAGE_SEQUENCE_SHIFT << ONE) - ONE
PAGE_KEY = ONE
"""In place of the identity of an entry's key, for hashing."""


@inner
def page_hash(words: Words, client: U64, number: U64) -> U64:
    """Hash of a page: keyed, as nobody is to choose which pages are searched for in the same places."""
    neighbours = (number & HOMES_MASK) >> NEIGHBOURS_SHIFT
    return key_hash(words, InlineKey(client, neighbours, PAGE_KEY)) - (number & NEIGHBOURS_MASK)


@inner
def hash_behind(words: Words, page: Page) -> U64:
    """Hash of the page behind a page that is in use: of the same client, and of the next number."""
    number = words[page + PAGE_NUMBER] + ONE
    if number & NEIGHBOURS_MASK != ZERO:
        return words[page + PAGE_HASH] - ONE
    return page_hash(words, words[page + PAGE_CLIENT], number)


@inner
def prefetch_home(words: Words, hashed: U64) -> None:
    """Prefetches the index slot where a search for a hash begins."""
    prefetch_to_write(words, home_slot(words[PAGE_INDEX], words[PAGE_INDEX_MASK], hashed))


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
    newest = Page(words[session + SESSION_NEWEST_PAGE])
    if newest != ZERO and words[newest + PAGE_NUMBER] + ONE == number:
        hashed = hash_behind(words, newest)
    else:
        hashed = page_hash(words, client, number)
    words[page + PAGE_CLIENT] = client
    words[page + PAGE_NUMBER] = number
    words[page + PAGE_HASH] = hashed
    zero_bytes(words, (page + PAGE_SLOTS) * WORD_BYTES, PAGE_SEQUENCES * WORD_BYTES)
    if newest == ZERO:
        words[page + PAGE_NEXT] = page
    else:
        words[page + PAGE_NEXT] = words[newest + PAGE_NEXT]
        words[newest + PAGE_NEXT] = page
    words[session + SESSION_NEWEST_PAGE] = page
    insert_slot(words, words[PAGE_INDEX], words[PAGE_INDEX_MASK], hashed, page)
    prefetch_home(words, hash_behind(words, page))
    # A client that goes on gets the page that is its oldest now, or the one behind this one.
    ahead = Page(words[page + PAGE_NEXT] if words[PAGE_FREE_LIST] == ZERO and newest != ZERO else page + PAGE_WORDS)
    for line in u64_range(PAGE_WORDS // LINE_WORDS):
        prefetch_to_write(words, ahead + line * LINE_WORDS)
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
    remove_slot(words, words[PAGE_INDEX], words[PAGE_INDEX_MASK], words[page + PAGE_HASH], page)
    prefetch_home(words, hash_behind(words, Page(page)))
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
