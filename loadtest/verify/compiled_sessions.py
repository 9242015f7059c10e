"""Compiled sessions of the compiled model: who is known, and what stands in each client's window.

A client has a row of numbers, a window of words (56 bits of what was done under a sequence, 8 bits of its result), and
a ring of the pages that it has. Rows are found and dropped by looking at all of them: a load has few clients.
"""

from typing import Final

import numpy as np
import numpy.typing as npt
from numba import njit

from txqueue.jit.decorators import inner

WINDOW: Final = 131_072
PAGE_RING: Final = 16_384
"""Entries of a client's rings of pages: what it holds at once spans less than two windows, 8,193 pages."""

CLIENT_ID, HIGHEST, EXECUTED, FLOOR, LAST_USE, STAMP, STATE, END_SEQUENCE, END_CONTENT, HEAD, TAIL = range(11)
"""Columns of ``clients``. STAMP orders by last use, or by end; HEAD and TAIL count in the ring of pages."""
CLIENT_WORDS: Final = 16
GONE, LIVE, ENDED = 0, 1, 2

NOW, BLOCK_TIME, SESSIONS_MAX, HORIZON, PAGES_MAX, SESSIONS, PAGES, STAMPS, ROWS = range(9)
"""Words of ``ledger``: session time, bounds, and what is in use."""
LEDGER_WORDS: Final = 16

NEW, EXPIRED, EXHAUSTED, REUSED, AGAIN = 0, 11, 12, 13, 256
DUPLICATE: Final = 128
_PENDING: Final = np.uint64(127)

_HELD, _ORDER = 0, 1
_U0, _U1, _U5, _U8 = np.uint64(0), np.uint64(1), np.uint64(5), np.uint64(8)
_RESULT_BITS: Final = np.uint64(255)
_WINDOW: Final = np.uint64(WINDOW)
_SLOT: Final = np.uint64(WINDOW - 1)
_RING: Final = np.uint64(PAGE_RING - 1)
_PAGE: Final = np.uint64(32)

_NO_ROW: Final = -1


def begin_block(ledger: npt.NDArray[np.uint64], time_ns: int) -> None:
    """Let session time go on to a block's."""
    if ledger[BLOCK_TIME]:
        elapsed = time_ns - int(ledger[BLOCK_TIME])
        ledger[NOW] += np.uint64(max(0, min(elapsed, int(ledger[HORIZON]) // 16)))
    ledger[BLOCK_TIME] = time_ns


@inner
def row_of(clients, ledger, client):
    """The row that a client has, or had; -1 for none."""
    for row in range(np.int64(ledger[ROWS])):
        if clients[row, CLIENT_ID] == client:
            return row
    return _NO_ROW


@inner
def _drop_pages(clients, pages, ledger, row, count):
    """Drop a client's oldest ``count`` pages."""
    for _ in range(count):
        page = pages[row, _ORDER, clients[row, HEAD] & _RING]
        pages[row, _HELD, page & _RING] = _U0
        clients[row, HEAD] += _U1
    ledger[PAGES] -= count


@inner
def _forget(clients, windows, pages, ledger, row):
    """Forget all that a client was answered."""
    held = clients[row, TAIL] - clients[row, HEAD]
    if held > _U0:
        for slot in range(WINDOW):
            windows[row, slot] = _U0
        _drop_pages(clients, pages, ledger, row, held)


@inner
def _make_room(clients, windows, pages, ledger, asking):
    """Drop the one session that may go first, other than ``asking``."""
    chosen = _NO_ROW
    for state, kept in ((ENDED, ledger[HORIZON] // np.uint64(4)), (LIVE, ledger[HORIZON])):
        first = _NO_ROW
        for row in range(np.int64(ledger[ROWS])):
            is_earlier = first == _NO_ROW or clients[row, STAMP] < clients[first, STAMP]
            if clients[row, STATE] == np.uint64(state) and row != asking and is_earlier:
                first = row
        if chosen == _NO_ROW and first != _NO_ROW and ledger[NOW] - clients[first, LAST_USE] > kept:
            chosen = first
    if chosen == _NO_ROW:
        return False
    _forget(clients, windows, pages, ledger, chosen)
    clients[chosen, STATE] = np.uint64(GONE)
    ledger[SESSIONS] -= _U1
    return True


@inner
def _use(clients, ledger, row):
    ledger[STAMPS] += _U1
    clients[row, STAMP], clients[row, LAST_USE] = ledger[STAMPS], ledger[NOW]


@inner
def _admit(clients, windows, pages, ledger, row):
    """Give a new client a session."""
    while True:
        free = ledger[PAGES_MAX] - min(ledger[PAGES], ledger[PAGES_MAX])
        if ledger[SESSIONS] < ledger[SESSIONS_MAX] and np.uint64(16) * free >= ledger[PAGES_MAX]:
            break
        if not _make_room(clients, windows, pages, ledger, row):
            return False
    ledger[SESSIONS] += _U1
    clients[row, STATE] = np.uint64(LIVE)
    clients[row, HIGHEST], clients[row, FLOOR] = _U0, _U0
    _use(clients, ledger, row)
    return True


@inner
def _take_page(clients, windows, pages, ledger, row, sequence):
    """Give a client one more page, for ``sequence``; its oldest that have expired go first."""
    highest = max(clients[row, HIGHEST], sequence)
    held, expired = clients[row, TAIL] - clients[row, HEAD], _U0
    while expired < held:
        oldest = pages[row, _ORDER, (clients[row, HEAD] + expired) & _RING]
        last = oldest * _PAGE + np.uint64(31)
        if last >= highest or highest - last < _WINDOW:  # and not `last + window`, which would wrap
            break
        expired += _U1
    while ledger[PAGES] - expired >= ledger[PAGES_MAX]:
        if not _make_room(clients, windows, pages, ledger, row):
            return False
    _drop_pages(clients, pages, ledger, row, expired)
    page = sequence >> _U5
    pages[row, _HELD, page & _RING] = page + _U1
    pages[row, _ORDER, clients[row, TAIL] & _RING] = page
    clients[row, TAIL] += _U1
    ledger[PAGES] += _U1
    return True


@njit(inline="always")
def _told(known, content):
    """What a word of a window says to a transaction that comes to it."""
    if known == _U0:
        return np.int64(NEW)
    if known >> _U8 != content:
        return np.int64(REUSED)
    if known & _RESULT_BITS == _PENDING:
        return np.int64(AGAIN)
    return np.int64(known & _RESULT_BITS) | np.int64(DUPLICATE)


@njit(inline="always")
def is_next(clients, pages, ledger, row, sequence):
    """Whether a sequence is the usual one: the next of a client that was met in this block, in a page that it has."""
    page = sequence >> _U5
    return (
        clients[row, HIGHEST] + _U1 == sequence
        and clients[row, STATE] == np.uint64(LIVE)
        and clients[row, LAST_USE] == ledger[NOW]
        and pages[row, _HELD, page & _RING] == page + _U1
    )


@njit(inline="always")
def take_next(clients, windows, row, sequence, content):
    """As :func:`look_up` for the usual sequence."""
    clients[row, HIGHEST] = sequence
    windows[row, sequence & _SLOT] = content << _U8 | _PENDING


@inner
def look_up(clients, windows, pages, ledger, row, sequence, content, is_end):
    """What is known of a key, or a refusal; where it is new, it is pending from now on."""
    if clients[row, STATE] == np.uint64(ENDED):
        if sequence <= clients[row, HIGHEST]:
            if sequence != clients[row, END_SEQUENCE]:
                return np.int64(EXPIRED)
            return _told(clients[row, END_CONTENT] << _U8 | _U1, content)
        if not is_end:
            if not _take_page(clients, windows, pages, ledger, row, sequence):
                return np.int64(EXHAUSTED)
            clients[row, FLOOR] = clients[row, HIGHEST]
            clients[row, STATE] = np.uint64(LIVE)
            _use(clients, ledger, row)
    else:
        is_new = clients[row, STATE] == np.uint64(GONE)
        if is_new and not _admit(clients, windows, pages, ledger, row):
            return np.int64(EXHAUSTED)
        if clients[row, LAST_USE] != ledger[NOW]:
            _use(clients, ledger, row)
        highest = clients[row, HIGHEST]
        if sequence <= clients[row, FLOOR]:
            if sequence != clients[row, END_SEQUENCE]:
                return np.int64(EXPIRED)
            return _told(clients[row, END_CONTENT] << _U8 | _U1, content)
        if highest >= _WINDOW and sequence <= highest - _WINDOW:
            return np.int64(EXPIRED)
        page = sequence >> _U5
        if sequence <= highest:
            told = _told(windows[row, sequence & _SLOT], content)
            if told != NEW or is_end:
                return told if told != NEW else np.int64(EXPIRED)
        is_held = is_end or pages[row, _HELD, page & _RING] == page + _U1
        if not is_held and not _take_page(clients, windows, pages, ledger, row, sequence):
            return np.int64(EXHAUSTED)
    if sequence > clients[row, HIGHEST]:
        for skipped in range(max(clients[row, HIGHEST] + _U1, sequence - min(sequence, _WINDOW)), sequence):
            windows[row, skipped & _SLOT] = _U0
        clients[row, HIGHEST] = sequence
    windows[row, sequence & _SLOT] = content << _U8 | _PENDING
    return np.int64(NEW)


@njit(inline="always")
def decide(clients, windows, row, sequence, content, result):
    """Remember a pending key's first answer."""
    highest = clients[row, HIGHEST]
    if clients[row, STATE] == np.uint64(LIVE) and (highest < _WINDOW or sequence > highest - _WINDOW):
        windows[row, sequence & _SLOT] = content << _U8 | result


@inner
def end_session(clients, windows, pages, ledger, row, sequence, content):
    """Forget a client's answers but for this one."""
    windows[row, sequence & _SLOT] = _U0
    _forget(clients, windows, pages, ledger, row)
    clients[row, STATE] = np.uint64(ENDED)
    clients[row, END_SEQUENCE], clients[row, END_CONTENT] = sequence, content
    _use(clients, ledger, row)
