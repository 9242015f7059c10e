"""A process that forks while it has clients, and says what its child met. Run by `test_forks`."""

import asyncio
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from penstock import Append, AsyncClient, Client, OpenAccount, Put, RetryOptions, ValueKey
from penstock.contract.record import RECORD

CALLS: dict[str, Callable[[Any], Any]] = {
    "transfer": lambda client: client.transfer(1, 2, 3),
    "submit": lambda client: client.submit(Put(b"k", b"v")),
    "submit again": lambda client: client.submit(Put(b"k", b"v"), sequence=1),
    "start": lambda client: client.start(Put(b"k", b"v")),
    "chain": lambda client: client.submit_chain([OpenAccount(1), OpenAccount(2)]),
    "many": lambda client: client.submit_many([OpenAccount(1)]),
    "frame": lambda client: client.submit_frame(np.zeros(1, RECORD)),
    "records": lambda client: client.submit_records(np.zeros(1, RECORD)),
    "get": lambda client: client.get(b"k"),
    "get_counter": lambda client: client.get_counter(b"k"),
    "get_account": lambda client: client.get_account(1),
    "read": lambda client: client.read(ValueKey(b"k")),
    "read_many": lambda client: client.read_many([ValueKey(b"k")]),
    "status": lambda client: client.status(),
    "watch": lambda client: next(client.watch()) if isinstance(client, Client) else anext(client.watch()),
    "close": lambda client: client.close(),
}


def in_child(work: Callable[[], None]) -> int:
    """The exit status of a forked child that does ``work``; it is killed after 10 s."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(10)
        work()
        sys.exit(0)
    return os.waitpid(pid, 0)[1]


def report(name: str, call: Callable[[], Any]) -> None:
    began = time.monotonic()
    try:
        call()
        outcome = "nothing"
    except Exception as error:
        outcome = type(error).__name__
    late = time.monotonic() - began > 1
    print(name, outcome, "late" if late else "", flush=True)


async def child_of_an_asyncio_program(client: AsyncClient) -> None:
    for name, call in CALLS.items():
        began = time.monotonic()
        try:
            await call(client)
            outcome = "nothing"
        except Exception as error:
            outcome = type(error).__name__
        print(name, outcome, "late" if time.monotonic() - began > 1 else "", flush=True)


def use_an_own_client(target: str) -> None:
    """What a child does with a client that it made itself; everything works as anywhere else."""
    with Client(target, retry=RetryOptions(deadline_s=8)) as own:
        assert own.transfer(1, 2, 3).ok
        assert own.submit(Put(b"k", bytes(1 << 20))).ok
        assert len(own.submit_many(OpenAccount(i) for i in range(1000))) == 1000
        assert len(own.submit_frame(np.zeros(10_000, RECORD)).results) == 10_000
        assert not own.get(b"k").found
        assert next(own.watch()).log_index == 4
        assert own.status().condition == "serving"
        watched = own.watch(from_index=5, timeout=0.1)
        report("no block", lambda: next(watched))
    print("own", flush=True)


async def use_an_own_asyncio_client(target: str) -> None:
    async with AsyncClient(target) as own:
        results = await asyncio.gather(*(own.transfer(1, 2, 3) for _ in range(1000)))
        assert all(result.ok for result in results)
        async for block in own.watch():
            assert block.log_index == 4
            break
    print("own asyncio", flush=True)


def two_generations(target: str) -> None:
    """A child of a child, each with a client open; the credentials of a child are refused by name."""
    client = Client(target)
    assert client.transfer(1, 2, 3).ok

    def of_the_child() -> None:
        with Client(target) as own:
            assert own.transfer(1, 2, 3).ok

            def of_the_grandchild() -> None:
                report("inherited", lambda: own.transfer(1, 2, 3))
                use_an_own_client(target)
                os._exit(0)  # to leave by way of what was inherited would close the child's client

            print("status", in_child(of_the_grandchild), flush=True)
            assert own.transfer(1, 2, 3).ok, "the child goes on"
        report("encrypted", lambda: Client(target, credentials=object()))  # type: ignore[arg-type] # refused unseen

    print("status", in_child(of_the_child))
    assert client.transfer(1, 2, 3).ok, "the parent goes on"
    client.close()


def one_task(target: str, number: int) -> int:
    with Client(target) as own:
        return sum(result.ok for result in own.submit_many(Append(bytes(number)) for _ in range(100)))


def pool_beside_busy_threads(target: str) -> None:
    """A pool of forked workers, each with clients of its own, while threads of the parent keep theirs busy."""
    ended = threading.Event()
    with Client(target) as client:

        def submit() -> int:
            count = 0
            while not ended.is_set():
                count += client.submit(Put(b"k", b"v")).ok
            return count

        with ThreadPoolExecutor() as threads:
            busy = [threads.submit(submit) for _ in range(3)]
            for _ in range(3):
                with multiprocessing.get_context("fork").Pool(3) as pool:
                    print(sum(pool.starmap(one_task, [(target, number) for number in range(6)])), flush=True)
            ended.set()
            assert all(thread.result() for thread in busy)


def blocking(target: str) -> None:
    client = Client(target)
    assert client.transfer(1, 2, 3).ok

    def work() -> None:
        for name, call in CALLS.items():
            report(name, lambda call=call: call(client))  # type: ignore[misc]
        use_an_own_client(target)

    print("status", in_child(work))
    assert client.transfer(1, 2, 3).ok, "the parent goes on"
    client.close()
    assert client.client_id


def asynchronous(target: str) -> None:
    async def main() -> None:
        async with AsyncClient(target) as client:
            assert (await client.transfer(1, 2, 3)).ok

            def work() -> None:
                asyncio.run(child_of_an_asyncio_program(client))
                use_an_own_client(target)
                asyncio.run(use_an_own_asyncio_client(target))
                os._exit(0)  # to leave by way of the parent's event loop would take that one's sockets out of its epoll

            print("status", in_child(work))
            assert (await client.transfer(1, 2, 3)).ok, "the parent goes on"

    asyncio.run(main())


def closed_before(target: str) -> None:
    with Client(target) as client:
        assert client.transfer(1, 2, 3).ok

    def work() -> None:
        with Client(target) as own:
            print("own", own.transfer(1, 2, 3).ok, flush=True)

    print("status", in_child(work))


if __name__ == "__main__":
    programs = (blocking, asynchronous, closed_before, two_generations, pool_beside_busy_threads)
    {program.__name__: program for program in programs}[sys.argv[1]](sys.argv[2])
