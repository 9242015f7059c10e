"""Both distributions, built once."""

from pathlib import Path
from typing import NamedTuple

import pytest

from tests.node.installed.installation import run_uv


class Distributions(NamedTuple):
    """The files that are published."""

    client: Path
    server: Path
    client_source: Path
    server_source: Path
    locked: Path
    """Constraints: the versions of the lock file."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Distributions:
    """Sources, and wheels made from those sources."""
    folder = tmp_path_factory.mktemp("dist")
    run_uv("build", "--quiet", "--all-packages", "--out-dir", str(folder))
    locked = folder / "locked.txt"
    locked.write_text(run_uv("export", "--frozen", "--quiet", "--no-dev", "--no-emit-workspace", "--no-hashes"))
    (client,), (server,) = folder.glob("penstock_client-*.whl"), folder.glob("penstock_server-*.whl")
    (client_source,), (server_source,) = folder.glob("*client-*.tar.gz"), folder.glob("*server-*.tar.gz")
    return Distributions(client, server, client_source, server_source, locked)
