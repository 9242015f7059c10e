"""The cache of machine code knows every file that compiled code comes from."""

from pathlib import Path

from txqueue.jit import kernel_cache

ROOT = Path(__file__).parents[3]
PACKAGES = ("penstock", "services", "replication", "statestore", "pooling", "txqueue", "loadtest")


def test_every_file_with_compiled_code_names_the_caches_directory() -> None:
    known = [ROOT / folder for folder in kernel_cache._SOURCES]
    assert all(folder.is_dir() for folder in known)
    for package in PACKAGES:
        for source in (ROOT / package).rglob("*.py"):
            text = source.read_text()
            compiled = "from numba" in text or "jit.decorators import" in text
            if compiled and source.name != "warmup.py":
                assert any(folder in source.parents for folder in known), source


def test_a_change_of_a_source_changes_the_directory(tmp_path: Path) -> None:
    for folder in kernel_cache._SOURCES:
        (tmp_path / folder).mkdir(parents=True)
    source = tmp_path / "txqueue" / "atomics.py"
    source.write_text("x = 1")
    before = kernel_cache._state_of(tmp_path)
    (tmp_path / "services" / "node.py").write_text("y = 1")
    assert kernel_cache._state_of(tmp_path) == before
    source.write_text("x = 12")
    assert kernel_cache._state_of(tmp_path) != before
