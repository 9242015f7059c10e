"""What one program gets that submits its transactions one by one: many coroutines at once, or a single one, idle."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

from hdrh.histogram import HdrHistogram

from penstock.aio import AsyncClient
from penstock.operations import OpenAccount

_LATENCY_MAX_US: Final = 60_000_000
_DIGITS: Final = 3
_WARMUP_S: Final = 1.0
_ACCOUNTS: Final = 1_000


@dataclass(frozen=True, slots=True)
class OneByOne:
    """What came of it; latencies in microseconds, from the call to its result."""

    committed: int
    seconds: float
    latency_us: HdrHistogram

    def figures(self) -> dict[str, object]:
        """Give the report, latencies in milliseconds."""
        at = self.latency_us.get_value_at_percentile
        return {
            "committed": self.committed,
            "seconds": round(self.seconds, 3),
            "tps": round(self.committed / self.seconds),
            "latency_ms": {
                "p50": at(50) / 1000,
                "p99": at(99) / 1000,
                "p999": at(99.9) / 1000,
                "max": self.latency_us.get_max_value() / 1000,
            },
        }


async def submit_one_by_one(target: str, coroutines: int, seconds: float, pause_s: float = 0.0) -> OneByOne:
    """Let ``coroutines`` of one AsyncClient each await one transfer after the other, with a pause in between.

    A second of warm-up is left out. Every result must be OK.
    """
    histogram = HdrHistogram(1, _LATENCY_MAX_US, _DIGITS)
    latencies_ns: list[int] = []
    committed = 0
    now_ns = time.perf_counter_ns
    async with AsyncClient(target) as client:
        await asyncio.gather(*(client.submit(OpenAccount(account, overdraft=True)) for account in range(_ACCOUNTS)))
        begin = time.perf_counter() + _WARMUP_S
        end = begin + seconds
        begin_ns, end_ns = int(begin * 1e9), int(end * 1e9)

        async def submit_all(number: int) -> None:
            nonlocal committed
            debit, credit = number % _ACCOUNTS, (number + 1) % _ACCOUNTS
            while (sent_ns := now_ns()) < end_ns:
                result = await client.transfer(debit, credit, 1)
                if not result.ok:
                    result.raise_for_rejection()
                if sent_ns >= begin_ns:
                    committed += 1
                    latencies_ns.append(now_ns() - sent_ns)
                if pause_s:
                    await asyncio.sleep(pause_s)

        await asyncio.gather(*(submit_all(number) for number in range(coroutines)))
    elapsed = time.perf_counter() - begin
    for latency_ns in latencies_ns:
        histogram.record_value(max(latency_ns // 1000, 1))
    return OneByOne(committed, elapsed, histogram)
