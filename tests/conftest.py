"""Fixtures of the tests of the whole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.node.serve_process import ServeProcess


@pytest.fixture
def node(tmp_path: Path) -> Iterator[ServeProcess]:
    """A node with default settings that serves, for one test alone."""
    with ServeProcess(tmp_path) as running:
        yield running


@pytest.fixture(scope="module")
def shared_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServeProcess]:
    """A node with default settings that serves all tests of a module: each has client ids and keys of its own."""
    with ServeProcess(tmp_path_factory.mktemp("node")) as running:
        yield running
