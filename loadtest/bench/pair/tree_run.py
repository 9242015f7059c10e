"""One run of a source tree: a node of its own that its own load generator loads, or any command that prints JSON."""

import json
import shlex
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from loadtest.bench.pair.source_tree import SourceTree
from loadtest.node.child_process import command_of_child
from loadtest.node.leftovers import cleared_away, temporary_directory
from loadtest.node.node_process import NodeProcess

_DEADLINE_S: Final = 3600.0


class RunFailed(Exception):
    """A run ended without its figures; the message has the end of its output."""


@dataclass(frozen=True, slots=True)
class NodeLoad:
    """A closed loop of transfers, 7 frames of 10,000 in flight, on a fresh node. Times in seconds."""

    seconds: float = 2.0
    warmup_s: float = 0.5


def run_load(tree: SourceTree, load: NodeLoad, data_dir: Path, seed: int, *, verify: bool = False) -> dict[str, float]:
    """Start a node on an empty log, load it, stop it, and return its figures.

    It goes through ``penstock serve`` and ``penstock load``, whose options used here are in every commit since the load
    generator. ``start_s`` is the time until the node serves; ``node_cpu_ns`` is the processor time of the node, all its
    threads, per transaction answered. With ``verify`` the log is checked, too.

    Raises:
        NodeFailed: the node did not start or stop well.
        RunFailed: the load was not run, or the log does not hold what was acknowledged.
    """
    shutil.rmtree(data_dir, ignore_errors=True)
    data_dir.mkdir(parents=True)
    figures_file = data_dir / "load.json"
    with cleared_away(data_dir), temporary_directory() as sockets:  # a socket's path has 107 bytes at most
        program, environment = (str(tree.programs / "penstock"),), tree.environment()
        node = NodeProcess(data_dir, sockets / "s", program=program, directory=tree.directory, environment=environment)
        try:
            start_s = node.start()
            options = ["--seconds", str(load.seconds), "--warmup", str(load.warmup_s), "--seed", str(seed)]
            options += ["--verify", str(node.log_directory)] if verify else []
            cpu_s = node.cpu_s()
            _run(tree, "penstock", "load", "--target", node.target, "--json", str(figures_file), *options)
            cpu_s = node.cpu_s() - cpu_s
            node.stop()
        finally:
            node.kill()
        measured = json.loads(figures_file.read_text())
    answered = sum(measured["results_with_warmup"].values())
    if not answered or not measured["committed"]:
        raise RunFailed(f"nothing was committed: {measured['first_error']}")
    return {
        "tps": measured["tps"],
        "p50_ms": measured["latency_ms"]["p50"],
        "p99_ms": measured["latency_ms"]["p99"],
        "start_s": start_s,
        "node_cpu_ns": cpu_s * 1e9 / answered,
    }


def run_command(tree: SourceTree, command: str) -> dict[str, float]:
    """Run a command in the tree, with the tree's programs first on PATH; return the numbers in the JSON that it prints.

    They are named by their path in it: ``{"a": {"b": [1, 2]}}`` gives ``a.b.0`` and ``a.b.1``.

    Raises:
        RunFailed: it failed, or printed no JSON.
    """
    output = _run(tree, *shlex.split(command))
    try:
        figures = numbers(json.loads(output))
    except ValueError:
        raise RunFailed(f"`{command}` must print JSON and nothing else; it printed:\n{output[-2000:]}") from None
    return figures


def numbers(value: Any, name: str = "") -> dict[str, float]:
    """All numbers in a JSON value, by their path."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return {}
    if isinstance(value, int | float):
        return {name: float(value)}
    entries = value.items() if isinstance(value, dict) else enumerate(value)
    found: dict[str, float] = {}
    for key, entry in entries:
        found |= numbers(entry, f"{name}.{key}" if name else str(key))
    return found


def _run(tree: SourceTree, *command: str) -> str:
    program = tree.programs / command[0]
    arguments = [str(program) if program.exists() else command[0], *command[1:]]
    try:
        done = subprocess.run(
            command_of_child(*arguments),
            cwd=tree.directory,
            env=tree.environment(),
            capture_output=True,
            text=True,
            timeout=_DEADLINE_S,
            check=True,
        )
    except subprocess.CalledProcessError as error:
        output = f"{error.stdout}{error.stderr}"[-4000:]
        raise RunFailed(f"`{shlex.join(command)}` of {tree.commit} failed:\n{output}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise RunFailed(f"`{shlex.join(command)}` of {tree.commit} failed: {error}") from None
    return done.stdout
