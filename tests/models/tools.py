"""Programs that some tests need and that a developer's machine may lack."""

import os
import shutil

import pytest


def require(program: str, package: str) -> str:
    """The program's path. Where it is missing the test is skipped; but not in CI, which must run everything."""
    path = shutil.which(program)
    if path is None:
        reason = f"needs {program}: install Debian's package {package}"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return path


def unmeasured() -> dict[str, str]:
    """The environment of a process that is stepped through: coverage would multiply its instructions."""
    return {name: value for name, value in os.environ.items() if not name.startswith("COVERAGE_")}
