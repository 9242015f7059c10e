from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from penstock.client.process import runtime_support
from tests.penstock.client.fake_node import FakeNode


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with FakeNode(tmp_path / "node.sock") as fake:
        yield fake


@pytest.fixture(params=["grpc", "grpclib"])
def each_transport(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test runs over gRPC's own library, and over the one that forked children have in its place."""
    monkeypatch.setattr(runtime_support, "_grpc_left_behind", request.param == "grpclib")
