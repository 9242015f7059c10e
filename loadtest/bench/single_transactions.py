"""Throughput and latency of transactions submitted one by one through one client, as an application does."""

import asyncio
import gc
import itertools
import random
import secrets
import time
from typing import Any, Final

from hdrh.histogram import HdrHistogram

from loadtest.load.account_setup import open_accounts
from loadtest.load.frame_source import AccountSetupSource
from loadtest.load.workload import Workload
from penstock.client.async_client import AsyncClient

_LATENCY_US_MAX: Final = 3_600_000_000
_PAIRS: Final = 1 << 16


async def measure_single(target: str, workload: Workload, coroutines: int, seconds: float) -> dict[str, Any]:
    """Transfers from many coroutines that each await a result before the next: TPS, and latency in milliseconds.

    All objects made until then are frozen out of garbage collection first, as a program that needs low tail latency
    does: a full collection of everything imported takes 30 ms, and shows in the 99th percentile.
    """
    await open_accounts(target, AccountSetupSource(workload, secrets.randbits(63) | 1), lambda: None)
    pairs = itertools.cycle(_account_pairs(workload))
    histogram = _histogram()
    async with AsyncClient(target) as client:
        gc.collect()
        gc.freeze()
        warm_until = time.perf_counter_ns() + int(1e9)
        end = warm_until + int(seconds * 1e9)

        async def submit() -> int:
            committed, now = 0, time.perf_counter_ns()
            while now < end:
                began = now
                result = await client.transfer(*next(pairs), 1)
                now = time.perf_counter_ns()
                if warm_until <= now < end:
                    committed += result.ok
                    # Recording every one would cost this process a fifth of its time.
                    if committed & 15 == 0:
                        histogram.record_value((now - began) // 1000)
            return committed

        committed = sum(await asyncio.gather(*(submit() for _ in range(coroutines))))
    return {"coroutines": coroutines, "committed": committed, "tps": round(committed / seconds), **_latency(histogram)}


async def measure_lone(target: str, count: int, pause_s: float = 0.005) -> dict[str, Any]:
    """One transaction at a time on an idle node, with pauses: latency in milliseconds."""
    workload = Workload(accounts=1000)
    await open_accounts(target, AccountSetupSource(workload, secrets.randbits(63) | 1), lambda: None)
    histogram = _histogram()
    async with AsyncClient(target) as client:
        for number, pair in enumerate(itertools.islice(itertools.cycle(_account_pairs(workload)), count + 20)):
            await asyncio.sleep(pause_s)
            began = time.perf_counter_ns()
            (await client.transfer(*pair, 1)).raise_for_rejection()
            if number >= 20:
                histogram.record_value((time.perf_counter_ns() - began) // 1000)
    return {"transactions": count, **_latency(histogram)}


def _account_pairs(workload: Workload) -> list[tuple[int, int]]:
    """Pairs of different accounts, drawn before the clock runs."""
    draw = random.Random(workload.seed)
    pairs = (draw.sample(range(1, workload.accounts), 2) for _ in range(_PAIRS))
    return [(debit, credit) for debit, credit in pairs]


def _histogram() -> HdrHistogram:
    return HdrHistogram(1, _LATENCY_US_MAX, 3)


def _latency(histogram: HdrHistogram) -> dict[str, Any]:
    percentiles = (("p50", 50), ("p99", 99), ("p999", 99.9), ("max", 100))
    return {
        "latency_ms": {name: round(histogram.get_value_at_percentile(share) / 1000, 3) for name, share in percentiles}
    }
