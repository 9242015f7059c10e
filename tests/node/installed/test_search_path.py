"""The command's search path: the server's own packages first, the working directory never."""

import os
import sys
from pathlib import Path

import pytest

from penstock_server import main


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (None, []),
        ("", []),
        (".", []),
        ("{here}", []),
        ("/elsewhere::/other", ["/elsewhere", "/other"]),
        ("{here}:/elsewhere", ["/elsewhere"]),
    ],
)
def test_the_working_directory_is_not_searched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str | None, kept: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("PYTHONPATH", raising=False)
    named = [] if not given else [place or str(tmp_path) for place in given.format(here=tmp_path).split(":")]
    if given is not None:
        monkeypatch.setenv("PYTHONPATH", given.format(here=tmp_path))
    monkeypatch.setattr(sys, "path", ["/bin", *(str(Path(place).absolute()) for place in named), "/site-packages"])
    main._search_first(Path("/lib"))
    assert sys.path == ["/lib", "/bin", *kept, "/site-packages"]
    assert os.environ["PYTHONPATH"].split(":") == ["/lib", *kept]


@pytest.mark.parametrize("named", ["", "/elsewhere"])
def test_an_editable_installation_of_the_project_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, named: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", named)
    monkeypatch.setattr(sys, "path", ["/bin", "/elsewhere", str(tmp_path)])
    main._search_first(Path("/lib"))
    assert sys.path == ["/lib", "/bin", "/elsewhere", str(tmp_path)]
