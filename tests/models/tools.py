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
