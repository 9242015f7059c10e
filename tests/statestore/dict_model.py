"""The state machine's rules over Python dicts: slow, obvious, and sharing no code with the compiled one."""

from dataclasses import dataclass, field, replace

from tests.statestore.blocks import Tx

MASK = 2**64 - 1
DIGEST_MULTIPLIER, EFFECT_MULTIPLIER, CREDIT_MULTIPLIER = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F, 0x165667B19E3779F9
WINDOW = 131_072
APPEND, PUT, DELETE, CAS, ADD, TRANSFER, OPEN_ACCOUNT = range(1, 8)
LINKED, OVERDRAFT, FLOOR = 1, 2, 4
(OK, KEY_NOT_FOUND, VERSION_MISMATCH, OVERFLOW, BELOW_FLOOR, INSUFFICIENT_FUNDS, ACCOUNT_NOT_FOUND, SAME_ACCOUNT) = (
    range(1, 9)
)
(ACCOUNT_EXISTS, LINKED_FAILED, SEQUENCE_EXPIRED) = range(9, 12)
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
    seen: dict[int, dict[int, int]] = field(default_factory=dict)
    position: int = 0
    effects_digest: int = 0

    def apply(self, txs: list[Tx]) -> list[int]:
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
        verdicts = [self._deduplicate(tx) for tx in chain]
        before = dict(self.entries)
        outcomes: list[tuple[int, int]] = []
        repeated = any(verdict & DUPLICATE for verdict in verdicts)
        for number, (tx, verdict) in enumerate(zip(chain, verdicts, strict=True)):
            code, effect = (verdict, 0) if verdict or repeated else self._execute(tx, self.position + number + 1)
            outcomes.append((code, effect))
            if code != OK and not repeated:
                break
        if repeated:
            outcomes = [(verdict or LINKED_FAILED, 0) for verdict in verdicts]
        elif outcomes[-1][0] != OK:
            self.entries = before
            failed = len(outcomes) - 1
            outcomes = [(outcomes[failed][0] if number == failed else LINKED_FAILED, 0) for number in range(len(chain))]
        for tx, verdict, (code, effect) in zip(chain, verdicts, outcomes, strict=True):
            if not verdict:
                self.seen[tx.client][tx.sequence] = code
            self.effects_digest = digest_step(self.effects_digest, code ^ (effect if code == OK else 0))
        self.position += len(chain)
        return [code for code, _ in outcomes]

    def _deduplicate(self, tx: Tx) -> int:
        """0 where the record is new."""
        seen = self.seen.setdefault(tx.client, {0: 0})
        if max(seen) - tx.sequence >= WINDOW:
            return SEQUENCE_EXPIRED
        result = seen.setdefault(tx.sequence, 0)
        return result | DUPLICATE if result else 0

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
        for client, seen in self.seen.items():
            total += digest_finish(digest_step(digest_step(4, client), max(seen)))
        return total & MASK
