from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.penstock.client.fake_node import FakeNode


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[FakeNode]:
    async with FakeNode(tmp_path / "node.sock") as fake:
        yield fake
