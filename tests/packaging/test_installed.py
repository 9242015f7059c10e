"""Both wheels, installed and run beside a project whose folders have the names of the server's."""

import json
import subprocess

import pytest

from tests.packaging.conftest import Distributions
from tests.packaging.installation import find_python
from tests.packaging.project import Project

CLIENT_MIB_MAX = 150


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


@pytest.mark.slow
def test_the_demo_runs_in_the_project(project: Project) -> None:
    project.server.run(project.folder, project.server.command, "demo", "--seconds", "1")
    figures = json.loads((project.folder / "build" / "demo.json").read_text())
    assert figures["verification"]["verified"]
