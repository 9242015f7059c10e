"""Fixtures of the tests of the whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.serve_process import NodeProcess


@pytest.fixture
def node(tmp_path: Path) -> Iterator[NodeProcess]:
    """A node with default settings that serves."""
    with NodeProcess(tmp_path) as running:
        yield running
