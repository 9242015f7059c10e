"""The lowest versions that the distributions ask for are ones that work."""

import re
from pathlib import Path

import pytest

from tests.node.installed.conftest import Distributions
from tests.node.installed.installation import CLIENT, SERVER, find_python, run_uv
from tests.node.installed.project import Project


@pytest.mark.slow
def test_a_node_and_a_client_run_with_the_lowest_versions(built: Distributions, tmp_path: Path) -> None:
    asked = [name for name in CLIENT["dependencies"] + SERVER["dependencies"] if not name.startswith("penstock-")]
    (tmp_path / "asked.txt").write_text("\n".join(asked))
    lowest = ("--resolution", "lowest-direct", "--python-version", "3.11", "--no-header", "--no-annotate", "--quiet")
    resolved = run_uv("pip", "compile", *lowest, str(tmp_path / "asked.txt"))
    chosen = dict(line.split("==") for line in resolved.splitlines() if "==" in line)
    for requirement in asked:
        name, floor = re.fullmatch(r"([\w-]+)(?:\[\w+\])?>=([\w.]+)(?:,<[\d.]+)?", requirement).groups()  # type: ignore[union-attr]
        assert f"{chosen[name]}.".startswith(f"{floor}."), (
            f"{requirement} is too low for the others: it gives {chosen[name]}"
        )
    constraints = tmp_path / "lowest.txt"
    constraints.write_text(resolved)
    project = Project(tmp_path, built._replace(locked=constraints), find_python("3.11"))
    with project.node("dev") as target:
        project.submit(target)
