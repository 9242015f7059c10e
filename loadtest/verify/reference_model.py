"""Reference model of the state machine, in plain Python: written for reading and not for speed.

It is compared with the real one, so it shares nothing with it: dictionaries instead of tables, Python's integers
instead of words, results worked out from the text of ``protos/penstock/v1/record.proto`` alone. About 3 us
per transaction; :mod:`loadtest.verify.compiled_model` is the compiled check for long runs.
"""

import struct
from collections.abc import Iterable
from typing import Final, NamedTuple

from loadtest.verify.session_ledger import (
    AGAIN,
    DUPLICATE,
    NEW,
    SEQUENCE_REUSED,
    Key,
    SessionBounds,
    SessionLedger,
)

APPEND, PUT, DELETE, CAS, ADD, TRANSFER, OPEN_ACCOUNT = range(1, 8)
LINKED, OVERDRAFT, FLOOR = 1, 2, 4
(
    OK,
    KEY_NOT_FOUND,
    VERSION_MISMATCH,
    OVERFLOW,
    BELOW_FLOOR,
    INSUFFICIENT_FUNDS,
    ACCOUNT_NOT_FOUND,
    SAME_ACCOUNT,
    ACCOUNT_EXISTS,
    LINKED_FAILED,
) = range(1, 11)

VALUE, COUNTER, ACCOUNT, SESSION = 1, 2, 3, 4

_WORD: Final = (1 << 64) - 1
_K: Final = 0x9E3779B97F4A7C15
_K1: Final = 0xC2B2AE3D27D4EB4F
_K2: Final = 0x165667B19E3779F9
_RECORD: Final = struct.Struct("<QQ16sQQqHBBI")
_I64_MIN, _I64_MAX = -(1 << 63), (1 << 63) - 1

Identity = tuple[int, int, bytes]
"""Kind, namespace and key."""


def rotate(word: int, bits: int) -> int:
    """Rotate a 64-bit word to the left."""
    return ((word << bits) | (word >> (64 - bits))) & _WORD


def mix(digest: int, word: int) -> int:
    """One step of every digest here."""
    return rotate(((digest ^ word) * _K) & _WORD, 29)


def finish(digest: int) -> int:
    """Spread a digest's bits before it is summed with others."""
    digest ^= digest >> 32
    digest = digest * _K & _WORD
    return digest ^ (digest >> 29)


def bytes_digest(data: bytes) -> int:
    """Digest a byte string: its length, then its words, the last one padded with zeros."""
    digest = len(data)
    for (word,) in struct.iter_unpack("<Q", data + bytes(-len(data) % 8)):
        digest = mix(digest, word)
    return digest


class Entry(NamedTuple):
    """What a key holds: a value, or an amount. ``version`` is the changing transaction's position + 1."""

    version: int
    value: bytes = b""
    amount: int = 0
    overdraft: bool = False


class Transaction(NamedTuple):
    """One decoded record with its payload."""

    client_id: int
    sequence: int
    key: bytes
    operand_lo: int
    operand_hi: int
    amount: int
    namespace: int
    operation: int
    flags: int
    payload: bytes
    content: bytes
    """All but the idempotency key and LINKED: the record without them, and the payload."""

    @property
    def entry_key(self) -> bytes:
        """The key of PUT, DELETE, CAS and ADD."""
        length = self.operand_hi & 0xFFFF
        return self.key[:length] if length <= 16 else self.payload[:length]

    @property
    def value(self) -> bytes:
        """The value of PUT and CAS."""
        length = self.operand_hi & 0xFFFF
        return self.payload if length <= 16 else self.payload[length:]

    @property
    def credit_account(self) -> bytes:
        """The account that a TRANSFER moves to."""
        return struct.pack("<QQ", self.operand_lo, self.operand_hi)


def decode(records: bytes, payloads: bytes) -> list[Transaction]:
    """Decode a block's records (64 bytes each), each with its payload."""
    transactions = []
    offset = 0
    for at in range(0, len(records), _RECORD.size):
        client_id, sequence, key, lo, hi, amount, namespace, operation, flags, length = _RECORD.unpack_from(records, at)
        payload = payloads[offset : offset + length]
        offset += length
        unlinked = _RECORD.pack(0, 0, key, lo, hi, amount, namespace, operation, flags & ~LINKED, length)
        fields = (client_id, sequence, key, lo, hi, amount, namespace, operation, flags)
        transactions.append(Transaction(*fields, payload, unlinked + payload))
    assert offset == len(payloads), f"the records speak of {offset} payload bytes, the block has {len(payloads)}"
    return transactions


def chains(transactions: list[Transaction]) -> Iterable[range]:
    """Cut a block into chains: each a range of indices, of one where nothing is linked."""
    start = 0
    for index, transaction in enumerate(transactions):
        if not transaction.flags & LINKED:
            yield range(start, index + 1)
            start = index + 1
    assert start == len(transactions), "a chain is open at the end of the block"


class ReferenceModel:
    """The whole state: entries by identity, the ledger of keys, and the digest of all effects so far."""

    def __init__(self, bounds: SessionBounds | None = None) -> None:
        self.entries: dict[Identity, Entry] = {}
        self.sessions = SessionLedger(bounds)
        self.effects_digest = 0

    def apply(self, records: bytes, payloads: bytes, first_position: int, time_ns: int) -> bytes:
        """Apply one block and return one result byte for each of its records."""
        transactions = decode(records, payloads)
        self.sessions.begin_block(time_ns)
        results = bytearray()
        for chain in chains(transactions):
            results += self._apply_chain([transactions[i] for i in chain], first_position + chain.start)
        assert len(results) == len(transactions)
        return bytes(results)

    def state_digest(self) -> int:
        """Digest everything that lives: entries and sessions, in any order."""
        total = 0
        for (kind, namespace, key), entry in self.entries.items():
            word = bytes_digest(entry.value) if kind == VALUE else entry.amount & _WORD
            digest = mix(kind | namespace << 8 | int(entry.overdraft) << 32, bytes_digest(key))
            for part in (word, entry.version, 0):
                digest = mix(digest, part)
            total += finish(digest)
        for client_id, highest in self.sessions.highest().items():
            total += finish(mix(mix(SESSION, client_id), highest))
        return total & _WORD

    def money(self) -> int:
        """The sum of all balances: always 0, since accounts open empty and transfers only move money."""
        return sum(entry.amount for (kind, _, _), entry in self.entries.items() if kind == ACCOUNT)

    def _apply_chain(self, chain: list[Transaction], position: int) -> bytes:
        """Apply a chain of one or more: all of it, or nothing."""
        answers = [self.sessions.look_up(transaction) for transaction in chain]
        is_new = [answer == NEW for answer in answers]
        effects = [0] * len(chain)
        if any(answer == SEQUENCE_REUSED or answer & DUPLICATE for answer in answers):
            answers = [answer or LINKED_FAILED for answer in answers]
        else:
            before: dict[Identity, Entry | None] = {}
            for i, transaction in enumerate(chain):
                if is_new[i]:
                    answers[i], effects[i] = self._execute(transaction, position + i, before)
                if answers[i] not in (OK, AGAIN):
                    self._undo(before)
                    failed = [AGAIN if answer == AGAIN else LINKED_FAILED for answer in answers]
                    answers = [*failed[:i], answers[i], *failed[i + 1 :]]
                    break
        first_answers: dict[Key, int] = {}
        for i, transaction in enumerate(chain):
            key = transaction.client_id, transaction.sequence
            if is_new[i]:
                first_answers[key] = answers[i]
                self.sessions.decide(transaction, answers[i])
            elif answers[i] == AGAIN:
                answers[i] = first_answers[key] | DUPLICATE
            self.effects_digest = mix(self.effects_digest, answers[i] ^ (effects[i] if answers[i] == OK else 0))
        return bytes(answers)

    def _undo(self, before: dict[Identity, Entry | None]) -> None:
        for identity, entry in before.items():
            if entry is None:
                self.entries.pop(identity, None)
            else:
                self.entries[identity] = entry

    def _set(self, identity: Identity, entry: Entry | None, before: dict[Identity, Entry | None]) -> None:
        """Set or remove an entry, noting what it was before the chain first touched it."""
        before.setdefault(identity, self.entries.get(identity))
        if entry is None:
            del self.entries[identity]
        else:
            self.entries[identity] = entry

    def _execute(self, tx: Transaction, position: int, before: dict[Identity, Entry | None]) -> tuple[int, int]:
        """Execute one new transaction; its result, and what it adds to the effects digest where that is OK."""
        version = position + 1
        match tx.operation:
            case 1:  # APPEND
                return OK, 0
            case 2 | 4:  # PUT, CAS
                identity = (VALUE, tx.namespace, tx.entry_key)
                old = self.entries.get(identity)
                if tx.operation == CAS and (old.version if old else 0) != tx.operand_lo:
                    return VERSION_MISMATCH, 0
                self._set(identity, Entry(version, value=tx.value), before)
                return OK, bytes_digest(tx.value) * _K1 & _WORD
            case 3:  # DELETE
                identity = (VALUE, tx.namespace, tx.entry_key)
                if identity not in self.entries:
                    return KEY_NOT_FOUND, 0
                self._set(identity, None, before)
                return OK, 0
            case 5:
                return self._add(tx, version, before)
            case 6:
                return self._transfer(tx, version, before)
            case 7:  # OPEN_ACCOUNT
                identity = (ACCOUNT, tx.namespace, tx.key)
                if identity in self.entries:
                    return ACCOUNT_EXISTS, 0
                self._set(identity, Entry(version, overdraft=bool(tx.flags & OVERDRAFT)), before)
                return OK, 0
            case 8:  # END_SESSION
                self.sessions.end(tx)
                return OK, 0
            case 9:  # SET_SESSION_BOUNDS
                self.sessions.bounds = SessionBounds(tx.amount, tx.operand_lo, tx.operand_hi)
                return OK, 0
            case unknown:
                raise AssertionError(f"operation {unknown} in the log at position {position}")

    def _add(self, tx: Transaction, version: int, before: dict[Identity, Entry | None]) -> tuple[int, int]:
        identity = (COUNTER, tx.namespace, tx.entry_key)
        old = self.entries.get(identity)
        total = (old.amount if old else 0) + tx.amount
        if not _I64_MIN <= total <= _I64_MAX:
            return OVERFLOW, 0
        (floor,) = struct.unpack("<q", struct.pack("<Q", tx.operand_lo))
        if tx.flags & FLOOR and total < floor:
            return BELOW_FLOOR, 0
        self._set(identity, Entry(version, amount=total), before)
        return OK, (total & _WORD) * _K1 & _WORD

    def _transfer(self, tx: Transaction, version: int, before: dict[Identity, Entry | None]) -> tuple[int, int]:
        debit_identity = (ACCOUNT, tx.namespace, tx.key)
        credit_identity = (ACCOUNT, tx.namespace, tx.credit_account)
        if debit_identity == credit_identity:
            return SAME_ACCOUNT, 0
        debit, credit = self.entries.get(debit_identity), self.entries.get(credit_identity)
        if debit is None or credit is None:
            return ACCOUNT_NOT_FOUND, 0
        if not debit.overdraft and debit.amount < tx.amount:
            return INSUFFICIENT_FUNDS, 0
        left, right = debit.amount - tx.amount, credit.amount + tx.amount
        if left < _I64_MIN or right > _I64_MAX:
            return OVERFLOW, 0
        self._set(debit_identity, Entry(version, amount=left, overdraft=debit.overdraft), before)
        self._set(credit_identity, Entry(version, amount=right, overdraft=credit.overdraft), before)
        return OK, ((left & _WORD) * _K1 & _WORD) ^ rotate((right & _WORD) * _K2 & _WORD, 32)
