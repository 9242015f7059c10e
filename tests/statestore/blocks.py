"""Builds blocks for the tests, one record at a time."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from penstock.contract import limits, opcode, record
from statestore.session_bounds import SessionBounds
from statestore.state_machine import StateMachine

START_NS = 10**18
HOUR_NS = 3_600_000_000_000


def bounds(capacity: int, horizon_ns: int = HOUR_NS) -> SessionBounds:
    """Bounds on sessions that fit a state of 4 MiB, with pages for a full window."""
    return SessionBounds(capacity, horizon_ns, 5000)


@dataclass(frozen=True)
class Tx:
    """One transaction, in the terms of `record.proto`."""

    operation: int
    key: bytes = b""
    value: bytes = b""
    amount: int = 0
    credit: bytes = b""
    operand: int = 0
    flags: int = 0
    namespace: int = 0
    client: int = 1
    sequence: int = 0


def pack(txs: list[Tx]) -> tuple[NDArray[np.uint8], int]:
    """The block's body, and how many of its bytes are payloads. Number the transactions first."""
    records = np.zeros(len(txs), dtype=record.RECORD)
    payloads = bytearray()
    for row, tx in zip(records, txs, strict=True):
        payload = tx.value
        row["client_id"], row["sequence"], row["namespace"] = tx.client, tx.sequence, tx.namespace
        row["operation"], row["flags"], row["amount"] = tx.operation, tx.flags, tx.amount
        if tx.operation in (opcode.TRANSFER, opcode.OPEN_ACCOUNT):
            row["key_lo"], row["key_hi"] = np.frombuffer(tx.key, dtype="<u8")
            if tx.operation == opcode.TRANSFER:
                row["operand_lo"], row["operand_hi"] = np.frombuffer(tx.credit, dtype="<u8")
        elif tx.operation == opcode.SET_SESSION_BOUNDS:
            row["operand_lo"], row["operand_hi"] = tx.operand % 2**64, tx.operand >> 64
        elif tx.operation not in (opcode.APPEND, opcode.END_SESSION):
            row["operand_lo"], row["operand_hi"] = tx.operand % 2**64, len(tx.key)
            if len(tx.key) <= limits.KEY_INLINE_BYTES_MAX:
                row["key_lo"], row["key_hi"] = np.frombuffer(tx.key.ljust(16, b"\0"), dtype="<u8")
            else:
                payload = tx.key + payload
        row["payload_length"] = len(payload)
        payloads += payload
    return np.frombuffer(records.tobytes() + bytes(payloads), dtype=np.uint8), len(payloads)


@dataclass
class Feeder:
    """Feeds a state machine, counting blocks and positions."""

    state: StateMachine
    time_ns: int = START_NS
    sequences: dict[int, int] = field(default_factory=dict)

    def numbered(self, txs: list[Tx]) -> list[Tx]:
        """Gives each transaction that has none its client's next sequence."""
        numbered = []
        for tx in txs:
            if tx.sequence == 0 and tx.operation != opcode.SET_SESSION_BOUNDS:
                self.sequences[tx.client] = self.sequences.get(tx.client, 0) + 1
                tx = Tx(**{**tx.__dict__, "sequence": self.sequences[tx.client]})
            numbered.append(tx)
        return numbered

    def apply(self, *txs: Tx) -> list[int]:
        """Applies one block of these transactions; their result codes."""
        body, payload_bytes = pack(self.numbered(list(txs)))
        return self.apply_body(body, len(txs), payload_bytes)

    def apply_body(self, body: NDArray[np.uint8], count: int, payload_bytes: int = 0) -> list[int]:
        results = np.zeros(count, dtype=np.uint8)
        state = self.state
        state.apply(body, count, payload_bytes, state.applied_position, self.time_ns, state.applied_index + 1, results)
        return list(results.tolist())


def account(number: int) -> bytes:
    return number.to_bytes(16, "little")


def opened(number: int, flags: int = 0, namespace: int = 0) -> Tx:
    return Tx(opcode.OPEN_ACCOUNT, key=account(number), flags=flags, namespace=namespace)


def transfer(debit: int, credit: int, amount: int, flags: int = 0, client: int = 1, sequence: int = 0) -> Tx:
    return Tx(
        opcode.TRANSFER,
        key=account(debit),
        credit=account(credit),
        amount=amount,
        flags=flags,
        client=client,
        sequence=sequence,
    )


def put(key: bytes, value: bytes, flags: int = 0, namespace: int = 0) -> Tx:
    return Tx(opcode.PUT, key=key, value=value, flags=flags, namespace=namespace)


def end(client: int = 1, sequence: int = 0) -> Tx:
    return Tx(opcode.END_SESSION, client=client, sequence=sequence)


def set_bounds(capacity: int, horizon_ns: int, page_capacity: int) -> Tx:
    operand = horizon_ns | page_capacity << 64
    return Tx(opcode.SET_SESSION_BOUNDS, amount=capacity, operand=operand, client=0)


def delete(key: bytes, flags: int = 0) -> Tx:
    return Tx(opcode.DELETE, key=key, flags=flags)


def cas(key: bytes, value: bytes, expected: int, flags: int = 0) -> Tx:
    return Tx(opcode.CAS, key=key, value=value, operand=expected, flags=flags)


def add(key: bytes, amount: int, flags: int = 0, floor: int = 0) -> Tx:
    return Tx(opcode.ADD, key=key, amount=amount, operand=floor, flags=flags)
