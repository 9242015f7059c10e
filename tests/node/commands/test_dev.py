"""What `penstock dev` prints is true, and runs."""

import re
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from textwrap import dedent


def test_dev_prints_what_to_try_and_it_runs_and_its_data_are_gone_at_the_end(tmp_path: Path) -> None:
    target = f"unix:{tmp_path}/node.sock"
    program = [sys.executable, "-m", "services.cli.main", "dev", "--listen", target]
    with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as node:
        assert node.stdout is not None
        text = ""
        while "get_account(2)" not in text:
            line = node.stdout.readline()
            assert line, "the node ended before it said anything"
            text += line
        data = re.search(r"data +(\S+), removed at the end", text)
        assert data is not None
        assert Path(data[1], "log").is_dir()
        output = StringIO()
        with redirect_stdout(output):
            exec(dedent(text[text.index("  import penstock") :]), {})
        assert output.getvalue().splitlines()[-1] == "100"
        node.send_signal(signal.SIGINT)
        assert node.wait(30) == 0
    assert not Path(data[1]).exists()
