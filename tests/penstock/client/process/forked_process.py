"""A process that forks while it has clients, and says what its child met. Run by `test_forks`."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from penstock import AsyncClient, Client, OpenAccount, Put, ValueKey
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


def blocking(target: str) -> None:
    client = Client(target)
    assert client.transfer(1, 2, 3).ok

    def work() -> None:
        for name, call in CALLS.items():
            report(name, lambda call=call: call(client))  # type: ignore[misc]
        report("new", lambda: Client(target))

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
                report("new", lambda: Client(target))
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
    {"blocking": blocking, "asynchronous": asynchronous, "closed_before": closed_before}[sys.argv[1]](sys.argv[2])
