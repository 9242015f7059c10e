"""Verdicts on transactions: whether a client's sequence is new, or what it is answered again.

A session holds the highest sequence of a client, and the results of its last 131,072 sequences in pages
(:mod:`statestore.kernel.sessions.result_pages`), each with the fingerprint of its transaction: another transaction
under a used key is told apart from the same one sent again.
"""

from penstock.contract import result_code
from statestore.kernel.kernel_types import Session
from statestore.kernel.layout import (
    PAGE_CAPACITY,
    PAGE_COUNT,
    PAGE_SEQUENCE_SHIFT,
    RESULT_WINDOW,
    SESSION_ENDED_AT,
    SESSION_HIGHEST,
    SESSION_LAST_USE,
    SESSION_PAGE,
    SESSION_TIME,
    ZERO,
)
from statestore.kernel.sessions.fingerprint import RESULT_MASK
from statestore.kernel.sessions.order_of_use import ended_head, link_last, live_head, unlink
from statestore.kernel.sessions.result_pages import (
    NO_PAGE,
    expired_pages,
    find_page,
    free_all_pages,
    free_oldest_page,
    give_page,
    slot_of_sequence,
)
from statestore.kernel.sessions.session_table import is_ended, make_room
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words, u64_range

NEW = U64(0)
"""The verdict on a transaction that was not seen before: it is to be applied, and its result recorded."""
OK = U64(result_code.OK)
DUPLICATE = U64(result_code.DUPLICATE)
SEQUENCE_EXPIRED = U64(result_code.SEQUENCE_EXPIRED)
SESSIONS_EXHAUSTED = U64(result_code.SESSIONS_EXHAUSTED)
SEQUENCE_REUSED = U64(result_code.SEQUENCE_REUSED)
PENDING = U64(127)
"""In place of a result, while the chain that the transaction is part of is under way."""
NO_SLOT = ZERO


@inner
def answer_again(slot: U64, mark: U64) -> U64:
    """The answer to a transaction of fingerprint `mark` whose key was used by the one in `slot`."""
    if (slot ^ mark) & ~RESULT_MASK != ZERO:
        return SEQUENCE_REUSED
    return (slot & RESULT_MASK) | DUPLICATE


@inner
def has_expired(highest: U64, sequence: U64) -> bool:
    """Whether a sequence lies so far below the highest that its result is not remembered."""
    return sequence <= highest and highest - sequence >= RESULT_WINDOW


@inner
def judge(words: Words, session: Session, sequence: U64, mark: U64) -> tuple[U64, U64]:
    """The verdict on a transaction, and the slot of its result.

    Args:
        words: the state's region.
        session: of its client, as `session_for` found it.
        sequence: its sequence.
        mark: its fingerprint.

    Returns:
        NEW and an empty slot, where the result is to be recorded. Or else the transaction's answer (the first result
        with DUPLICATE, SEQUENCE_REUSED, SEQUENCE_EXPIRED or SESSIONS_EXHAUSTED), and the slot of the first result or
        NO_SLOT.
    """
    ended_at = words[session + SESSION_ENDED_AT]
    highest = words[session + SESSION_HIGHEST]
    if has_expired(highest, sequence):
        return SEQUENCE_EXPIRED, NO_SLOT
    if sequence <= ended_at:
        return SEQUENCE_REUSED if sequence == ended_at else SEQUENCE_EXPIRED, NO_SLOT
    number = sequence >> PAGE_SEQUENCE_SHIFT
    page = NO_PAGE
    if number <= highest >> PAGE_SEQUENCE_SHIFT:  # else it was never taken
        page = find_page(words, session, number)
    if page != NO_PAGE:
        slot = slot_of_sequence(page, sequence)
        if words[slot] != ZERO:
            return answer_again(words[slot], mark), slot
    else:
        expired = expired_pages(words, session, max(highest, sequence))
        while words[PAGE_COUNT] - expired >= words[PAGE_CAPACITY]:
            if not make_room(words, session):
                return SESSIONS_EXHAUSTED, NO_SLOT
        if is_ended(words, session):  # which this transaction opens again
            words[session + SESSION_LAST_USE] = words[SESSION_TIME]
            unlink(words, session)
            link_last(words, session, live_head(words))
        for _ in u64_range(expired):
            free_oldest_page(words, session)
        page = give_page(words, session, number)
    if sequence > highest:
        words[session + SESSION_HIGHEST] = sequence
        words[session + SESSION_PAGE] = page
    return NEW, slot_of_sequence(page, sequence)


@inner
def end_session(words: Words, session: Session, sequence: U64, mark: U64) -> U64:
    """END_SESSION of fingerprint `mark`: its answer.

    The results are forgotten, and with them all that would tell a transaction sent again from a new one; so every
    sequence up to this one has expired, for as long as the session's row is kept.
    """
    if has_expired(words[session + SESSION_HIGHEST], sequence):
        return SEQUENCE_EXPIRED
    if sequence <= words[session + SESSION_HIGHEST]:
        if sequence == words[session + SESSION_ENDED_AT]:
            return OK | DUPLICATE
        page = find_page(words, session, sequence >> PAGE_SEQUENCE_SHIFT)
        if page != NO_PAGE and words[slot_of_sequence(page, sequence)] != ZERO:
            return answer_again(words[slot_of_sequence(page, sequence)], mark)
        return SEQUENCE_EXPIRED
    free_all_pages(words, session)
    words[session + SESSION_HIGHEST] = sequence
    words[session + SESSION_ENDED_AT] = sequence
    words[session + SESSION_LAST_USE] = words[SESSION_TIME]
    unlink(words, session)
    link_last(words, session, ended_head(words))
    return OK
