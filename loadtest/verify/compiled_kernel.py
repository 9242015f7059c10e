"""Compiled kernel of the compiled model: applies the chains of a block to dense arrays of cells."""

from typing import Final

import numpy as np
from numba import njit

from loadtest.verify.compiled_sessions import (
    AGAIN,
    CLIENT_ID,
    DUPLICATE,
    EXECUTED,
    HORIZON,
    NEW,
    PAGES_MAX,
    REUSED,
    ROWS,
    SESSIONS_MAX,
    decide,
    end_session,
    is_next,
    look_up,
    row_of,
    take_next,
)
from txqueue.jit.decorators import eager

BLOCK_RECORDS: Final = 10_000

_K: Final = np.uint64(0x9E3779B97F4A7C15)
_K1: Final = np.uint64(0xC2B2AE3D27D4EB4F)
_K2: Final = np.uint64(0x165667B19E3779F9)
_U0: Final = np.uint64(0)
_U1: Final = np.uint64(1)
_I64_MAX: Final = (1 << 63) - 1

# Columns of `cells`, 16 bytes for each key so that a million of them stay in the cache: what the key holds (an amount,
# or the digest of a value), and the version of that, 0 where there is nothing. Bit 63 of a version marks an overdraft
# account.
WORD, VERSION = 0, 1
OVERDRAFT: Final = np.uint64(1 << 63)
_FLAG_LINKED, _FLAG_OVERDRAFT = 1, 2
_LINKED_BIT: Final = np.uint64(1 << 24)
_SET_BOUNDS: Final = np.uint64(9 << 16)

# Words of `carry`, which the kernel keeps from block to block; the last three say where in a block it stopped, and why.
DIGEST, KEYS, PAYLOAD_AT, STOP, STOP_AT = 0, 1, 2, 3, 4
CARRY_WORDS: Final = 5
STOP_GENERAL, STOP_KEYS, STOP_CLIENT = 1, 2, 3

# Columns of `work`, a row for each record of a chain.
_ROW, _START, _CONTENT, _ANSWER, _EFFECT, _IS_NEW = 0, 1, 2, 3, 4, 5
WORK_COLUMNS: Final = 6

# Columns of `undo`, a row for each cell that a chain changes.
_KIND, _KEY, _OLD_WORD, _OLD_VERSION = 0, 1, 2, 3
UNDO_COLUMNS: Final = 4


@njit(inline="always")
def _mixed(digest, word):
    product = (digest ^ word) * _K
    return product << np.uint64(29) | product >> np.uint64(35)


@njit(inline="always")
def _value_digest(payloads, start, length):
    digest = np.uint64(length)
    for at in range(start, start + length, 8):
        word = _U0
        for j in range(min(8, start + length - at)):
            word |= np.uint64(payloads[at + j]) << np.uint64(8 * j)
        digest = _mixed(digest, word)
    return digest


@njit(inline="always")
def _content(records, i, payloads, start, length):
    """56 bits of all but a record's key and its LINKED.

    A sum of products: nobody makes collisions for a check that he cannot see.
    """
    digest = np.uint64(length)
    if length > 0:
        digest ^= _value_digest(payloads, start, length)
    for word in range(2, 7):
        digest += (records[i, word] ^ np.uint64(word)) * (_K1 + _K * np.uint64(2 * word))
    digest += (records[i, 7] & ~_LINKED_BIT) * _K1
    digest = (digest ^ digest >> np.uint64(32)) * _K2
    return digest >> np.uint64(8)


@njit(inline="always")
def _noted(undo, noted, cells, kind, key):
    """Note what a cell holds before it is changed."""
    undo[noted, _KIND], undo[noted, _KEY] = np.uint64(kind), key
    undo[noted, _OLD_WORD], undo[noted, _OLD_VERSION] = cells[kind, key, WORD], cells[kind, key, VERSION]
    return noted + 1


@eager(
    "int64(uint64[:, ::1], uint8[::1], int64, int64, uint64[:, :, ::1], uint64[:, ::1], uint64[:, ::1], "
    "uint64[:, :, ::1], uint64[::1], uint64[:, ::1], uint64[:, ::1], uint8[::1], uint64[::1])",
    _nrt=False,  # counting references to the arrays would take half of the time
)
def apply_records(
    records, payloads, start, first_position, cells, clients, windows, pages, ledger, work, undo, results, carry
):
    """Apply records from ``start`` on; returns their count, or the index of the first chain that could not be applied.

    ``carry[STOP]`` says why, and ``carry[STOP_AT]`` because of which record.
    """
    values, counters, accounts = cells[0], cells[1], cells[2]
    keys = carry[KEYS]
    digest = carry[DIGEST]
    payload_at = np.int64(carry[PAYLOAD_AT])
    row = np.int64(0)
    i = start
    stop = 0
    total = len(records)
    payload_bytes = len(payloads)
    while i < total:
        if records[i, 7] == _SET_BOUNDS:  # the node's own: it has no key
            ledger[SESSIONS_MAX], ledger[HORIZON], ledger[PAGES_MAX] = records[i, 6], records[i, 4], records[i, 5]
            digest = _mixed(digest, _U1)
            results[i] = 1
            i += 1
            continue
        # What the chain is, and whether the arrays take it: nothing changes before that is known of all of it.
        count = 0
        at = payload_at
        while True:
            r = i + count
            if r == total:
                stop = STOP_GENERAL
                break
            client, key, operand_hi = records[r, 0], records[r, 2], records[r, 5]
            meta = records[r, 7]
            operation = (meta >> np.uint64(16)) & np.uint64(0xFF)
            flags = (meta >> np.uint64(24)) & np.uint64(0xFF)
            length = np.int64(meta >> np.uint64(32))
            is_linked = flags & np.uint64(_FLAG_LINKED) != 0
            keyed = operation >= 2 and operation <= 5
            if (
                meta & np.uint64(0xFFFF) != 0
                or (flags > 1 and not (operation == 7 and flags & ~_U1 == _FLAG_OVERDRAFT))
                or (operation != 1 and records[r, 3] != 0)
                or (keyed and operand_hi != 8)
                or (operation == 6 and operand_hi != 0)
                or operation - _U1 > 7
                or (operation == 8 and (is_linked or count > 0))
                or length > payload_bytes - at
            ):
                stop = STOP_GENERAL
                break
            if operation > 1 and operation < 8 and (key >= keys or (operation == 6 and records[r, 4] >= keys)):
                stop = STOP_KEYS
                break
            if row >= ledger[ROWS] or clients[row, CLIENT_ID] != client:
                row = row_of(clients, ledger, client)
                if row < 0:
                    stop = STOP_CLIENT
                    row = np.int64(0)
                    break
            work[count, _ROW], work[count, _START] = np.uint64(row), np.uint64(at)
            at += length
            count += 1
            if not is_linked:
                break
        if stop:
            carry[STOP_AT] = np.uint64(min(i + count, total - 1))
            break

        # What is known of each key.
        is_repeat = False
        for j in range(count):
            r = i + j
            meta = records[r, 7]
            content = _content(records, r, payloads, np.int64(work[j, _START]), np.int64(meta >> np.uint64(32)))
            is_end = (meta >> np.uint64(16)) & np.uint64(0xFF) == 8
            at_row = np.int64(work[j, _ROW])
            answer = np.int64(NEW)
            if is_next(clients, pages, ledger, at_row, records[r, 1]) and not is_end:
                take_next(clients, windows, at_row, records[r, 1], content)
            else:
                answer = look_up(clients, windows, pages, ledger, at_row, records[r, 1], content, is_end)
            work[j, _CONTENT], work[j, _ANSWER], work[j, _EFFECT] = content, np.uint64(answer), _U0
            work[j, _IS_NEW] = np.uint64(answer == NEW)
            if answer == REUSED or answer & DUPLICATE:
                is_repeat = True

        # Execute what is new, all or none.
        failed = np.int64(-1)
        noted = 0
        for j in range(count):
            if is_repeat or failed >= 0:
                break
            if work[j, _ANSWER] == np.uint64(AGAIN):
                continue
            if work[j, _ANSWER] != np.uint64(NEW):
                failed = np.int64(j)
                break
            r = i + j
            key, operand_lo, amount = records[r, 2], records[r, 4], np.int64(records[r, 6])
            operation = (records[r, 7] >> np.uint64(16)) & np.uint64(0xFF)
            version = np.uint64(first_position + r + 1)
            result, effect = _U1, _U0
            if operation == 6:
                debit, credit = np.int64(accounts[key, WORD]), np.int64(accounts[operand_lo, WORD])
                if key == operand_lo:
                    result = np.uint64(8)  # SAME_ACCOUNT
                elif accounts[key, VERSION] == 0 or accounts[operand_lo, VERSION] == 0:
                    result = np.uint64(7)  # ACCOUNT_NOT_FOUND
                elif debit < amount and accounts[key, VERSION] < OVERDRAFT:
                    result = np.uint64(6)  # INSUFFICIENT_FUNDS
                elif debit < np.int64(-_I64_MAX - 1) + amount or credit > np.int64(_I64_MAX) - amount:
                    result = np.uint64(4)  # OVERFLOW
                else:
                    if count > 1:
                        noted = _noted(undo, _noted(undo, noted, cells, 2, key), cells, 2, operand_lo)
                    left, right = np.uint64(debit - amount), np.uint64(credit + amount)
                    accounts[key, WORD], accounts[operand_lo, WORD] = left, right
                    accounts[key, VERSION] = version | accounts[key, VERSION] & OVERDRAFT
                    accounts[operand_lo, VERSION] = version | accounts[operand_lo, VERSION] & OVERDRAFT
                    spread = right * _K2
                    effect = left * _K1 ^ (spread << np.uint64(32) | spread >> np.uint64(32))
            elif operation == 5:
                old = np.int64(counters[key, WORD])
                if (amount > 0 and old > np.int64(_I64_MAX) - amount) or (
                    amount < 0 and old < np.int64(-_I64_MAX - 1) - amount
                ):
                    result = np.uint64(4)  # OVERFLOW
                else:
                    if count > 1:
                        noted = _noted(undo, noted, cells, 1, key)
                    counters[key, WORD], counters[key, VERSION] = np.uint64(old + amount), version
                    effect = np.uint64(old + amount) * _K1
            elif operation == 7:
                if accounts[key, VERSION] != 0:
                    result = np.uint64(9)  # ACCOUNT_EXISTS
                else:
                    if count > 1:
                        noted = _noted(undo, noted, cells, 2, key)
                    has_overdraft = (records[r, 7] >> np.uint64(24)) & np.uint64(_FLAG_OVERDRAFT) != 0
                    accounts[key, VERSION] = version | (OVERDRAFT if has_overdraft else _U0)
            elif operation == 8:
                end_session(clients, windows, pages, ledger, np.int64(work[j, _ROW]), records[r, 1], work[j, _CONTENT])
            elif operation == 3:
                if values[key, VERSION] == 0:
                    result = np.uint64(2)  # KEY_NOT_FOUND
                else:
                    if count > 1:
                        noted = _noted(undo, noted, cells, 0, key)
                    values[key, :] = _U0
            elif operation == 4 and values[key, VERSION] != operand_lo:
                result = np.uint64(3)  # VERSION_MISMATCH
            elif operation != 1:
                if count > 1:
                    noted = _noted(undo, noted, cells, 0, key)
                begin, length = np.int64(work[j, _START]), np.int64(records[r, 7] >> np.uint64(32))
                values[key, WORD] = _value_digest(payloads, begin, length)
                values[key, VERSION] = version
                effect = values[key, WORD] * _K1
            work[j, _ANSWER], work[j, _EFFECT] = result, effect
            if result != _U1:
                failed = np.int64(j)
        if failed >= 0:
            while noted > 0:
                noted -= 1
                kind, key = np.int64(undo[noted, _KIND]), undo[noted, _KEY]
                cells[kind, key, WORD], cells[kind, key, VERSION] = undo[noted, _OLD_WORD], undo[noted, _OLD_VERSION]

        # Answer, and remember.
        for j in range(count):
            r = i + j
            told = work[j, _ANSWER]
            if told == np.uint64(AGAIN):
                first = j - 1
                while (
                    not work[first, _IS_NEW]
                    or records[i + first, 0] != records[r, 0]
                    or records[i + first, 1] != records[r, 1]
                ):
                    first -= 1
                told = np.uint64(results[i + first]) | np.uint64(DUPLICATE)
            elif is_repeat:
                if told == np.uint64(NEW):
                    told = np.uint64(10)  # LINKED_FAILED
            elif failed >= 0 and j != failed:
                told = np.uint64(10)
            if work[j, _IS_NEW]:
                at_row = np.int64(work[j, _ROW])
                decide(clients, windows, at_row, records[r, 1], work[j, _CONTENT], told)
                clients[at_row, EXECUTED] += _U1
            digest = _mixed(digest, told ^ (work[j, _EFFECT] if told == _U1 else _U0))
            results[r] = told
        payload_at = at
        i += count
    carry[DIGEST] = digest
    carry[PAYLOAD_AT] = payload_at
    carry[STOP] = stop
    return i
