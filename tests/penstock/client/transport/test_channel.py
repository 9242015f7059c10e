from collections.abc import Iterator

import pytest

from penstock import AsyncClient, Client, InvalidOperation, Put, RetryOptions
from tests.penstock.client.fake_node import FakeNode


@pytest.fixture(params=["http_proxy", "https_proxy", "grpc_proxy"])
def proxy(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A proxy that nobody answers at: what is sent to it never arrives."""
    for name in ("no_proxy", "no_grpc_proxy", "http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(request.param, "http://127.0.0.1:1")
    return iter(())


@pytest.mark.parametrize("target", ["http://127.0.0.1:50051", "127.0.0.1:x", "::1:50051", ""])
async def test_a_client_of_a_target_that_is_none_is_refused_before_anything_is_sent(target: str) -> None:
    with pytest.raises(InvalidOperation, match="write"):
        AsyncClient(target)
    with pytest.raises(InvalidOperation, match="write"):
        Client(target)


@pytest.mark.usefixtures("proxy")
async def test_no_proxy_comes_between_a_client_and_a_node_of_this_machine() -> None:
    async with FakeNode() as node, AsyncClient(node.target, retry=RetryOptions(deadline_s=2)) as client:
        assert (await client.submit(Put(b"k", b"v"))).ok
