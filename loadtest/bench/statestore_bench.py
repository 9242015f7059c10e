"""Benchmark of the state machine alone: `python -m loadtest.bench.statestore_bench`.

Applies full blocks of transfers from memory in one thread, and prints the time per transaction. It includes sessions,
the effects digest and results; log and network are left out.
"""

import platform
import time

import click
import numpy as np
from numpy.typing import NDArray

from penstock.contract import flag, limits, opcode, record
from statestore.state_machine import StateMachine

BLOCK_RECORDS = limits.BATCH_SIZE
CLIENT_ID = 1


def _numbered(records: NDArray[np.void], first_sequence: int) -> NDArray[np.uint8]:
    records["client_id"] = CLIENT_ID
    records["sequence"] = np.arange(first_sequence, first_sequence + records.size)
    return records.view(np.uint8)


def _open_accounts(numbers: NDArray[np.uint64]) -> NDArray[np.void]:
    records = np.zeros(numbers.size, record.RECORD)
    records["key_lo"], records["operation"], records["flags"] = numbers, opcode.OPEN_ACCOUNT, flag.OVERDRAFT
    return records


def _transfers(rng: np.random.Generator, shares: NDArray[np.float64]) -> NDArray[np.void]:
    records = np.zeros(BLOCK_RECORDS, record.RECORD)
    drawn = np.searchsorted(shares, rng.random((2, BLOCK_RECORDS))) + 1
    records["key_lo"], records["operand_lo"] = drawn
    records["operation"], records["amount"] = opcode.TRANSFER, rng.integers(1, 1000, BLOCK_RECORDS)
    return records


class _BlockTimer:
    """Applies block after block, and times each."""

    def __init__(self, state: StateMachine) -> None:
        self._state = state
        self._results = np.empty(BLOCK_RECORDS, np.uint8)

    def apply(self, records: NDArray[np.void]) -> float:
        """Nanoseconds per record."""
        state = self._state
        position = state.applied_position
        body = _numbered(records, position + 1)
        results = self._results[: records.size]
        started_ns = time.perf_counter_ns()
        state.apply(body, records.size, 0, position, 1, state.applied_index + 1, results)
        return (time.perf_counter_ns() - started_ns) / records.size


def _measure(accounts: int, exponent: float, blocks: int, seed: int) -> NDArray[np.float64]:
    rng = np.random.default_rng(seed)
    weights = np.arange(1, accounts + 1, dtype=np.float64) ** -exponent
    shares = np.cumsum(weights) / weights.sum()
    shares[-1] = 1.0
    with StateMachine() as state:
        timer = _BlockTimer(state)
        for first in range(1, accounts + 1, BLOCK_RECORDS):
            last = min(first + BLOCK_RECORDS, accounts + 1)
            timer.apply(_open_accounts(np.arange(first, last, dtype=np.uint64)))
        return np.array([timer.apply(_transfers(rng, shares)) for _ in range(blocks)])


@click.command()
@click.option("--blocks", default=300, show_default=True, help="Blocks of 10,000 transfers per line.")
@click.option("--seed", default=1, show_default=True)
def main(blocks: int, seed: int) -> None:
    """Times TRANSFER in the state machine for uniform and Zipf accounts."""
    click.echo(
        f"{platform.processor() or platform.machine()}, one thread, {blocks} blocks, seed {seed}; ns per transfer"
    )
    for accounts in (1_000, 100_000, 1_000_000):
        for name, exponent in (("uniform", 0.0), ("zipf 1.1", 1.1)):
            took = _measure(accounts, exponent, blocks, seed)
            least, p50, p99 = np.percentile(took, (0, 50, 99))
            click.echo(f"{accounts:>9,} accounts, {name:<8}  least {least:5.1f}  p50 {p50:5.1f}  p99 {p99:5.1f}")


if __name__ == "__main__":
    main()
