"""The example programs run beside an installed client, and pass the type checkers that its users have."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.node.installed.conftest import Distributions
from tests.node.installed.installation import ROOT, Installation, find_python, run_uv
from tests.node.serve_process import ServeProcess

pytestmark = pytest.mark.slow

CHECKED = [*sorted((ROOT / "examples").glob("*.py")), Path(__file__).with_name("typed_program.py")]
ROWS = 1_000_000
MAKE_FILES = """
import numpy as np, pyarrow as pa, pyarrow.feather, sys
rows = np.random.default_rng(1).integers(1, 1000, (int(sys.argv[1]), 3))
rows += (1000, 3000, 0)
np.savetxt("transfers.csv", rows, "%d", ",", header="debit,credit,amount", comments="")
columns = {name: rows[:, i] for i, name in enumerate(("debit", "credit", "amount"))}
pa.feather.write_feather(pa.table(columns), "transfers.arrow", compression="uncompressed")
"""
TIME_BUILDING = """
import json, transfers_from_arrow, transfers_from_csv
from collections.abc import Callable
from pathlib import Path
from time import process_time

def seconds(build, *arguments):
    began = process_time()
    built = build(*arguments)
    return process_time() - began, built

csv = min((seconds(transfers_from_csv.read_transfers, Path("transfers.csv")) for _ in range(3)), key=lambda run: run[0])
arrow = min((seconds(transfers_from_arrow.read_transfers, "transfers.arrow") for _ in range(3)), key=lambda run: run[0])
assert csv[1][1].records.tobytes() == arrow[1].records.tobytes()
print(json.dumps({"csv": csv[0], "arrow": arrow[0], "rows": len(arrow[1])}))
"""


class Programs:
    """An environment of the client and of what the examples need besides, and a folder with the examples."""

    def __init__(self, folder: Path, built: Distributions) -> None:
        self.client = Installation(folder / "client", find_python("3.11"), [built.client], constraints=built.locked)
        needed = folder / "needed.txt"
        needed.write_text(
            run_uv("export", "--frozen", "--quiet", "--only-group", "examples", "--no-emit-workspace", "--no-hashes")
        )
        run_uv("pip", "install", "--quiet", "--python", str(self.client.python), "--requirement", str(needed))
        self.folder = folder / "examples"
        self.folder.mkdir()
        for program in CHECKED:
            (self.folder / program.name).write_text(program.read_text())

    def run(self, *arguments: str | Path) -> str:
        return self.client.run(self.folder, self.client.python, *arguments)

    def mypy(self, place: str) -> tuple[int, str]:
        program = [str(Path(sys.executable).with_name("mypy")), "--strict", "--config-file", os.devnull]
        places = ["--cache-dir", str(self.folder / ".mypy_cache"), "--python-executable", str(self.client.python)]
        return self._check(*program, *places, place)

    def pyright(self, place: str) -> tuple[int, str]:
        settings = self.folder / "pyrightconfig.json"
        settings.write_text(json.dumps({"typeCheckingMode": "strict", "include": [place]}))
        python = str(self.client.python)
        return self._check(python, "-m", "pyright", "--pythonpath", python, "--project", str(settings))

    def _check(self, *command: str) -> tuple[int, str]:
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)
        return done.returncode, done.stdout


@pytest.fixture(scope="module")
def programs(built: Distributions, tmp_path_factory: pytest.TempPathFactory) -> Programs:
    programs = Programs(tmp_path_factory.mktemp("examples"), built)
    programs.run("-c", MAKE_FILES, str(ROWS))
    return programs


def test_mypy_in_strict_mode_has_nothing_to_say(programs: Programs) -> None:
    code, output = programs.mypy(".")
    assert code == 0, output
    assert f"no issues found in {len(CHECKED)} source files" in output


def test_pyright_in_strict_mode_has_nothing_to_say(programs: Programs) -> None:
    code, output = programs.pyright(".")
    assert code == 0, output
    assert output.strip().splitlines()[-1].startswith("0 errors, 0 warnings")


@pytest.mark.parametrize("checker", [Programs.mypy, Programs.pyright])
def test_a_misspelt_name_is_found(programs: Programs, checker: Callable[[Programs, str], tuple[int, str]]) -> None:
    misspelt = programs.folder / "misspelt"
    misspelt.mkdir(exist_ok=True)
    (misspelt / "program.py").write_text("import penstock\n\nprint(penstock.Cleint)\n")
    code, output = checker(programs, "misspelt")
    shutil.rmtree(misspelt)
    assert code == 1
    assert '"Cleint"' in output


@pytest.mark.parametrize("name", ["blocking_client.py", "async_client.py", "generated_stubs.py"])
def test_an_example_runs_on_a_node(programs: Programs, shared_node: ServeProcess, name: str) -> None:
    output = programs.run(name, shared_node.target)
    assert "False" not in output
    assert "True" in output


@pytest.mark.parametrize("program", ["transfers_from_csv.py transfers.csv", "transfers_from_arrow.py transfers.arrow"])
def test_a_million_transfers_of_a_file_reach_a_node(
    programs: Programs, shared_node: ServeProcess, program: str
) -> None:
    output = programs.run(*program.split(), shared_node.target)
    assert f"{ROWS} transfers" in output
    assert f"{ROWS} took effect" in output or f"{ROWS} OK" in output, output


@pytest.mark.alone
def test_a_million_transfers_take_three_tenths_of_a_second_of_a_processor_to_build(programs: Programs) -> None:
    measured = json.loads(programs.run("-c", TIME_BUILDING))
    assert measured["rows"] == ROWS
    assert max(measured["csv"], measured["arrow"]) <= 0.3, measured
