"""What the two distributions hold, and what they say of themselves."""

import tarfile
import zipfile
from email.parser import Parser
from pathlib import Path

from services.release import DISTRIBUTION
from tests.node.installed.conftest import Distributions
from tests.node.installed.installation import CLIENT, ROOT, SERVER, SERVER_FOLDERS


def files_of(wheel: Path) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        return set(archive.namelist())


def tops(wheel: Path) -> set[str]:
    return {name.split("/")[0] for name in files_of(wheel) if ".dist-info/" not in name}


def sources_of(*folders: str) -> set[str]:
    """What git would keep of these folders."""
    paths = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    return {
        str(path.relative_to(ROOT))
        for path in paths
        if path.suffix in {".py", ".pyi", ".cpp", ".hpp", ".typed"} and "__pycache__" not in path.parts
    }


def test_the_client_owns_its_import_name_alone(built: Distributions) -> None:
    assert tops(built.client) == {"penstock"}


def test_the_server_owns_one_name_that_is_its_own(built: Distributions) -> None:
    assert tops(built.server) == {"penstock_server"}


def test_the_client_has_every_file_of_its_folder(built: Distributions) -> None:
    found = {name for name in files_of(built.client) if name.startswith("penstock/")}
    assert found - {"penstock/py.typed"} == sources_of("penstock") - {"penstock/py.typed"}
    assert "penstock/py.typed" in found


def test_the_server_has_every_file_of_its_folders(built: Distributions) -> None:
    found = files_of(built.server)
    for folder in SERVER_FOLDERS:
        assert {f"penstock_server/lib/{name}" for name in sources_of(folder)} <= found
    assert sources_of("penstock_server") <= found


def test_both_are_of_one_version_and_the_server_asks_for_its_own_client() -> None:
    assert CLIENT["version"] == SERVER["version"]
    assert f"{CLIENT['name']}=={CLIENT['version']}" in SERVER["dependencies"]


def test_the_code_knows_the_servers_name() -> None:
    assert SERVER["name"] == DISTRIBUTION


def test_both_carry_the_license(built: Distributions) -> None:
    license_text = (ROOT / "LICENSE").read_bytes()
    for wheel in (built.client, built.server):
        with zipfile.ZipFile(wheel) as archive:
            (path,) = (name for name in archive.namelist() if name.endswith(".dist-info/licenses/LICENSE"))
            assert archive.read(path) == license_text
            (metadata,) = (name for name in archive.namelist() if name.endswith(".dist-info/METADATA"))
            assert Parser().parsestr(archive.read(metadata).decode())["License-Expression"] == "Apache-2.0"
    for source in (built.client_source, built.server_source):
        with tarfile.open(source) as tar:
            (path,) = (name for name in tar.getnames() if name.endswith("/LICENSE"))
            extracted = tar.extractfile(path)
            assert extracted is not None
            assert extracted.read() == license_text
