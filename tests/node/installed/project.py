"""A project that uses both distributions, and has folders of the names that the server's have."""

import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from tests.eventually import eventually
from tests.node.installed.conftest import Distributions
from tests.node.installed.installation import SERVER_FOLDERS, Installation

_PROGRAM: Final = """
import sys
import penstock

with penstock.Client(sys.argv[1]) as client:
    client.submit(penstock.OpenAccount(1, overdraft=True))
    client.submit(penstock.OpenAccount(2))
    assert client.transfer(debit=1, credit=2, amount=100).ok
    assert client.get_account(2).amount == 100
foreign = {"numba", "services", "pooling", "txqueue"} & set(sys.modules)
assert not foreign, foreign
"""


class Project:
    """The project, an environment for its programs, and one for the server."""

    def __init__(self, folder: Path, built: Distributions, python: str) -> None:
        self.client = Installation(folder / "client", python, [built.client], constraints=built.locked)
        self.server = Installation(folder / "server", python, [built.client, built.server], constraints=built.locked)
        self.folder = folder / "project"
        for place in (self.folder, self.server.site_packages):  # the latter as another distribution would
            for name in SERVER_FOLDERS:
                (place / name).mkdir(parents=True)
                (place / name / "__init__.py").write_text("raise ImportError('the project that has the same name')\n")

    @contextmanager
    def node(self, *command: str, **environment: str) -> Iterator[str]:
        """A node that serves, started in the project; gives its target. It must end well."""
        with tempfile.TemporaryDirectory(prefix="penstock-") as sockets:  # a socket's path has 107 bytes at most
            socket = Path(sockets) / "node.sock"
            listen = ("--listen", f"unix:{socket}")
            with self.server.start(self.folder, self.server.command, *command, *listen, **environment) as process:
                try:
                    eventually(lambda: socket.exists() or process.poll() is not None, "the node", timeout_s=200)
                    assert socket.exists(), process.communicate()[0]
                    yield f"unix:{socket}"
                    process.send_signal(signal.SIGTERM)
                    output, _ = process.communicate(timeout=60)
                    assert process.returncode == 0, output
                finally:
                    process.kill()

    def submit(self, target: str) -> None:
        """Run a client's program as a file of the project."""
        program = self.folder / "program.py"
        program.write_text(_PROGRAM)
        self.client.run(self.folder, self.client.python, program, target)
