"""Every module of a node is imported by a test that does not start a whole node."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WHOLE_NODE = {"services.node", "services.node_process", "tests.node.serve_process"}
"""What starts a whole node: tests that import it do not count."""

COMPOSITION = {"services.node", "services.node_parts", "services.node_process"}
"""What only puts a node together: its tests build whole nodes, of fakes or not."""


def modules() -> list[str]:
    paths = sorted((ROOT / "services").rglob("*.py"))
    return [".".join(path.relative_to(ROOT).with_suffix("").parts) for path in paths if path.name != "__init__.py"]


def imports_of(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


TESTED = {
    name
    for path in (ROOT / "tests" / "services").rglob("*.py")
    if not WHOLE_NODE & (names := set(imports_of(path)))
    for name in names
}


@pytest.mark.parametrize("module", [module for module in modules() if module not in COMPOSITION])
def test_a_module_has_a_test_without_a_node(module: str) -> None:
    assert module in TESTED, f"no test under tests/services imports {module} without starting a node"
