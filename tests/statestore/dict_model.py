"""The state machine's rules over Python dicts: slow, obvious, and sharing no code with the compiled one."""

from dataclasses import dataclass, field, replace

from tests.statestore.blocks import START_NS, Tx
from tests.statestore.session_model import Sessions

MASK = 2**64 - 1
DIGEST_MULTIPLIER, EFFECT_MULTIPLIER, CREDIT_MULTIPLIER = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
APPEND, PUT, DELETE, CAS, ADD, TRANSFER, OPEN_ACCOUNT, END_SESSION, SET_SESSION_BOUNDS = range(1, 10)
LINKED, OVERDRAFT, FLOOR = 1, 2, 4
(OK, KEY_NOT_FOUND, VERSION_MISMATCH, OVERFLOW, BELOW_FLOOR, INSUFFICIENT_FUNDS, ACCOUNT_NOT_FOUND, SAME_ACCOUNT) = (
    range(1, 9)
)
(ACCOUNT_EXISTS, LINKED_FAILED, SEQUENCE_EXPIRED, SESSIONS_EXHAUSTED, SEQUENCE_REUSED) = range(9, 14)
DUPLICATE = 128


def rotl(x: int, bits: int) -> int:
    return ((x << bits) | (x >> (64 - bits))) & MASK


def digest_step(h: int, w: int) -> int:
    return rotl(((h ^ w) * DIGEST_MULTIPLIER) & MASK, 29)


def digest_finish(h: int) -> int:
    h ^= h >> 32
    h = (h * DIGEST_MULTIPLIER) & MASK
    return h ^ (h >> 29)


def bytes_digest(data: bytes) -> int:
    h = len(data)
    for at in range(0, len(data), 8):
        h = digest_step(h, int.from_bytes(data[at : at + 8], "little"))
    return h


@dataclass(frozen=True)
class Entry:
    version: int
    value: bytes = b""
    amount: int = 0
    overdraft: bool = False


Key = tuple[int, int, bytes]


@dataclass
class Model:
    entries: dict[Key, Entry] = field(default_factory=dict)
    sessions: Sessions = field(default_factory=Sessions)
    position: int = 0
    effects_digest: int = 0

    def apply(self, txs: list[Tx], time_ns: int = START_NS) -> list[int]:
        self.sessions.begin_block(time_ns)
        results = []
        at = 0
        while at < len(txs):
            end = at + 1
            while txs[end - 1].flags & LINKED:
                end += 1
            results += self._apply_chain(txs[at:end])
            at = end
        return results

    def _apply_chain(self, chain: list[Tx]) -> list[int]:
        if chain[0].operation == SET_SESSION_BOUNDS:
            self._set_session_bounds(chain[0])
            self.position += 1
            self.effects_digest = digest_step(self.effects_digest, OK)
            return [OK]
        if chain[0].operation == END_SESSION:
            verdicts: list[int | None] = [self.sessions.end(chain[0])]
        else:
            verdicts = [self.sessions.judge(tx) for tx in chain]
        before = dict(self.entries)
        outcomes: list[tuple[int, int]] = []
        used_before = any(v == SEQUENCE_REUSED or (v or 0) > DUPLICATE for v in verdicts)
        for number, (tx, verdict) in enumerate(zip(chain, verdicts, strict=True)):
            if used_before:
                outcomes.append((LINKED_FAILED if verdict is None else verdict, 0))
                continue
            code, effect = self._execute(tx, self.position + number + 1) if verdict is None else (verdict, 0)
            outcomes.append((code, effect))
            if code not in (OK, DUPLICATE) and len(chain) > 1:
                break
        if not used_before and len(chain) > 1 and outcomes[-1][0] not in (OK, DUPLICATE):
            self.entries = before
            failed = len(outcomes) - 1
            outcomes = [(outcomes[failed][0] if number == failed else LINKED_FAILED, 0) for number in range(len(chain))]
        results = []
        firsts: dict[tuple[int, int], int] = {}
        for tx, verdict, (code, effect) in zip(chain, verdicts, outcomes, strict=True):
            if verdict is None:
                self.sessions.record(tx, code)
                firsts[tx.client, tx.sequence] = code
            elif verdict == DUPLICATE:  # of an earlier record of this chain, whose result there is now
                code = firsts[tx.client, tx.sequence] | DUPLICATE
            results.append(code)
            self.effects_digest = digest_step(self.effects_digest, code ^ (effect if code == OK else 0))
        self.position += len(chain)
        return results

    def _set_session_bounds(self, tx: Tx) -> None:
        self.sessions.capacity, self.sessions.horizon = tx.amount, tx.operand & MASK
        self.sessions.page_capacity = tx.operand >> 64

    def _execute(self, tx: Tx, version: int) -> tuple[int, int]:
        if tx.operation == APPEND:
            return OK, 0
        if tx.operation in (TRANSFER, OPEN_ACCOUNT):
            return self._execute_account(tx, version)
        key = (2 if tx.operation == ADD else 1, tx.namespace, tx.key)
        entry = self.entries.get(key)
        if tx.operation == ADD:
            total = (entry.amount if entry else 0) + tx.amount
            if not -(2**63) <= total < 2**63:
                return OVERFLOW, 0
            if tx.flags & FLOOR and total < tx.operand:
                return BELOW_FLOOR, 0
            self.entries[key] = Entry(version, amount=total)
            return OK, (total * EFFECT_MULTIPLIER) & MASK
        if tx.operation == DELETE:
            return (OK if self.entries.pop(key, None) else KEY_NOT_FOUND), 0
        if tx.operation == CAS and tx.operand != (entry.version if entry else 0):
            return VERSION_MISMATCH, 0
        self.entries[key] = Entry(version, value=tx.value)
        return OK, (bytes_digest(tx.value) * EFFECT_MULTIPLIER) & MASK

    def _execute_account(self, tx: Tx, version: int) -> tuple[int, int]:
        key = (3, tx.namespace, tx.key)
        if tx.operation == OPEN_ACCOUNT:
            if key in self.entries:
                return ACCOUNT_EXISTS, 0
            self.entries[key] = Entry(version, overdraft=bool(tx.flags & OVERDRAFT))
            return OK, 0
        other = (3, tx.namespace, tx.credit)
        if key == other:
            return SAME_ACCOUNT, 0
        if key not in self.entries or other not in self.entries:
            return ACCOUNT_NOT_FOUND, 0
        debit, credit = self.entries[key], self.entries[other]
        if not debit.overdraft and debit.amount < tx.amount:
            return INSUFFICIENT_FUNDS, 0
        if debit.amount - tx.amount < -(2**63) or credit.amount + tx.amount >= 2**63:
            return OVERFLOW, 0
        debit = replace(debit, amount=debit.amount - tx.amount, version=version)
        credit = replace(credit, amount=credit.amount + tx.amount, version=version)
        self.entries[key], self.entries[other] = debit, credit
        return OK, ((debit.amount * EFFECT_MULTIPLIER) & MASK) ^ rotl((credit.amount * CREDIT_MULTIPLIER) & MASK, 32)

    def state_digest(self) -> int:
        total = 0
        for (kind, namespace, key), entry in self.entries.items():
            held = bytes_digest(entry.value) if kind == 1 else entry.amount & MASK
            h = digest_step(kind | namespace << 8 | entry.overdraft << 32, bytes_digest(key))
            total += digest_finish(digest_step(digest_step(digest_step(h, held), entry.version), 0))
        for session in (*self.sessions.live.values(), *self.sessions.ended.values()):
            total += digest_finish(digest_step(digest_step(4, session.client), session.highest))
        return total & MASK
