"""A session's ids are nobody else's, or the client says so."""

import asyncio
from pathlib import Path

import pytest

from penstock import Add, AsyncClient, ClientClosed, InvalidOperation, Result, SequenceReused
from penstock.client.options import FlowOptions
from tests.frames import rows
from tests.node.serve_process import ServeProcess


async def test_a_client_id_without_a_sequence_to_go_on_from_is_refused() -> None:
    with pytest.raises(InvalidOperation, match="go together"):
        AsyncClient("127.0.0.1:1", client_id=7)


async def test_sequences_that_an_earlier_run_used_fail_instead_of_doing_nothing(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as node:
        async with AsyncClient(node.target, client_id=7, next_sequence=1) as first_run:
            for _ in range(2):
                assert (await first_run.submit(Add(b"k", 1))).ok
        async with AsyncClient(node.target, client_id=7, next_sequence=1) as second_run:
            with pytest.raises(SequenceReused):
                await second_run.submit(Add(b"k", 1))
            with pytest.raises(SequenceReused):
                await second_run.submit_frame(rows(1), stamp=True)  # another transaction: answered SEQUENCE_REUSED
            assert (await second_run.submit(Add(b"k", 1), sequence=1)).duplicate, "asked for by its sequence"
        async with AsyncClient(node.target, client_id=7, next_sequence=3) as third_run:
            assert (await third_run.submit(Add(b"k", 1))).ok
            assert (await third_run.get_counter(b"k")).amount == 3


async def test_a_submitter_that_waits_for_room_while_the_client_closes_is_told(tmp_path: Path) -> None:
    with ServeProcess(tmp_path) as node:
        client = AsyncClient(node.target, flow=FlowOptions(frames_max=1))
        answered = asyncio.create_task(client.submit(Add(b"k", 1)))
        waiting = asyncio.create_task(client.submit(Add(b"k", 1), sequence=900))
        await asyncio.sleep(0)
        await asyncio.wait_for(client.close(), 10)
        assert (await answered).ok
        outcome = await asyncio.wait_for(asyncio.gather(waiting, return_exceptions=True), 5)
        assert isinstance(outcome[0], ClientClosed | Result), "an answer or an error, but never nothing"
