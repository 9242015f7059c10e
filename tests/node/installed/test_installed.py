"""Both wheels, installed and run beside a project whose folders have the names of the server's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.node.installed.conftest import Distributions
from tests.node.installed.installation import find_python
from tests.node.installed.project import Project

CLIENT_MIB_MAX = 150
TYPED = """
import penstock
from penstock.v1 import txqueue_pb2

with penstock.Client("127.0.0.1:50051") as client:
    amount: int = client.get_account(2).amount
    receipt = txqueue_pb2.SubmitFrameRequest(records=b"")
    client.transfer(debit="1", credit=2, amount=amount)
"""


def _version(version: str) -> "object":
    return pytest.param(version, marks=[] if version == "3.11" else pytest.mark.slow)


@pytest.fixture(scope="module", params=[_version(version) for version in ("3.11", "3.12", "3.13")])
def project(request: pytest.FixtureRequest, built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("installed"), built, find_python(request.param))


def test_the_clients_environment_is_small(project: Project) -> None:
    size = subprocess.run(["du", "-sm", project.client.site_packages], capture_output=True, text=True, check=True)
    assert int(size.stdout.split()[0]) <= CLIENT_MIB_MAX


def test_a_program_reaches_a_node_that_was_started_in_the_project(project: Project) -> None:
    with project.node("dev") as target:
        project.submit(target)


@pytest.mark.slow
def test_the_working_directory_is_not_searched_though_pythonpath_names_it(project: Project) -> None:
    with project.node("serve", "--data-dir", "data", PYTHONPATH=".") as target:
        project.submit(target)


def test_a_program_is_checked_against_the_clients_types(project: Project) -> None:
    program = project.folder / "typed.py"
    program.write_text(TYPED)
    mypy = [str(Path(sys.executable).with_name("mypy")), "--strict", "--config-file", os.devnull]
    places = ["--cache-dir", str(project.folder / ".mypy_cache"), "--python-executable", str(project.client.python)]
    done = subprocess.run(
        [*mypy, *places, program.name], cwd=project.folder, capture_output=True, text=True, check=False
    )
    (error, _) = done.stdout.splitlines()
    assert 'Argument "debit" to "transfer" of "Client" has incompatible type "str"' in error


@pytest.mark.slow
def test_the_demo_runs_in_the_project(project: Project) -> None:
    git = ("git", "-C", str(project.folder.parent), "-c", "user.name=Somebody", "-c", "user.email=")
    for command in (("init", "--quiet"), ("commit", "--quiet", "--allow-empty", "--message", "Theirs")):
        subprocess.run([*git, *command], check=True)
    project.server.run(project.folder, project.server.command, "demo", "--seconds", "1")
    figures = json.loads((project.folder / "build" / "demo.json").read_text())
    assert figures["verification"]["verified"]
    assert figures["conditions"]["commit"] == "unknown", "the commit of the project was taken for the server's"
