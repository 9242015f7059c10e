"""The tutorial's programs run, in order, and print what it shows."""

import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

from tests.node.serve_process import ServeProcess

TUTORIAL = Path(__file__).parents[3] / "docs" / "tutorial.md"
BLOCK = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)


def test_the_tutorial_prints_what_it_shows(node: ServeProcess) -> None:
    blocks = BLOCK.findall(TUTORIAL.read_text())
    names: dict[str, Any] = {}
    printed = ""
    shown = 0
    for language, text in blocks:
        if language == "python":
            output = StringIO()
            with redirect_stdout(output):
                exec(text.replace("127.0.0.1:50051", node.target), names)
            printed = output.getvalue()
        else:
            assert printed == text
            shown += 1
    assert shown >= 10
