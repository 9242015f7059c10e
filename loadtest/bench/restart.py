"""Start time of a node: seconds from its start until it serves, on an empty log and on a full one."""

import asyncio
import secrets
import time
from pathlib import Path
from typing import Any

from loadtest.load.account_setup import open_accounts
from loadtest.load.coordinator import LoadPlan, run_load
from loadtest.load.frame_source import AccountSetupSource
from loadtest.load.workload import Workload
from loadtest.node.node_process import running_node, status_of


def measure_restart(directory: Path, transactions: int, rounds: int = 3) -> dict[str, Any]:
    """Seconds until serving, ``rounds`` times each, on an empty log and on one of ``transactions`` or more transfers.

    The very first start is not counted: it may compile.

    Raises:
        NodeFailed: a node did not start or stop well.
    """
    workload = Workload()
    with running_node(directory / "warm-up"):
        pass
    empty = [_serving_after(directory / f"empty-{number}") for number in range(rounds)]
    with running_node(directory / "full") as node:
        asyncio.run(open_accounts(node.target, AccountSetupSource(workload, secrets.randbits(63) | 1), lambda: None))
        while (held := status_of(node.target).applied_transactions) < transactions:
            run_load(LoadPlan(node.target, workload, seconds=1.0, warmup_s=0.0))
        node.stop()
    full = [_serving_after(directory / "full") for _ in range(rounds)]
    return {"empty_s": empty, "full_s": full, "transactions": held}


def _serving_after(data_dir: Path) -> float:
    began = time.monotonic()
    with running_node(data_dir) as node:
        taken = time.monotonic() - began
        node.stop()
    return round(taken, 3)
