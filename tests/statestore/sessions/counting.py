"""Transactions that count, by which sessions are tested: whatever is applied twice shows in the counter."""

from dataclasses import replace

import numpy as np

from penstock.contract.flag import LINKED
from penstock.contract.opcode import ADD
from statestore.state_machine import StateMachine
from tests.statestore.blocks import Feeder, Tx

WINDOW = 131_072
PAGE = 32
PAGE_BYTES, SESSION_BYTES = 352, 96
LAST = 2**64 - 1
HOUR_NS = 3_600_000_000_000


def count(sequence: int, client: int = 1) -> Tx:
    return Tx(ADD, key=b"counter", amount=1, client=client, sequence=sequence)


def linked(tx: Tx) -> Tx:
    return replace(tx, flags=LINKED)


def pass_horizons(feeder: Feeder, horizons: float) -> None:
    """Let the session time pass in steps that no clock's jump takes: with blocks of a client of their own."""
    horizon_ns = feeder.state.session_bounds.horizon_ns
    for _ in range(int(16 * horizons)):
        feeder.time_ns += horizon_ns // 16
        feeder.apply_body(np.zeros(0, np.uint8), 0)


def counted(state: StateMachine) -> int:
    keys = np.frombuffer(b"counter", dtype=np.uint8)
    read = state.read(np.array([2], np.uint8), np.array([0], np.uint16), np.array([7], np.uint16), keys)
    return int(read.amounts[0])
