"""Damage is done to durable blocks only, and undone."""

from pathlib import Path
from random import Random

from loadtest.attack.log_damage import copy_of, one_bit_changed
from tests.loadtest.verify.transactions import LogWriter, body, record


def test_one_bit_of_a_block_changes_and_comes_back(tmp_path: Path) -> None:
    (tmp_path / "log").mkdir()
    log = LogWriter(tmp_path / "log")
    for sequence in range(1, 9):
        log.append(*body(record(1, sequence, value=b"payload")))
    (original,) = (tmp_path / "log").glob("*.segment")
    content = original.read_bytes()
    with copy_of(log.directory, tmp_path) as copy:
        for seed in range(50):
            with one_bit_changed(copy, Random(seed)):
                damaged = (copy / original.name).read_bytes()
                (place,) = [at for at, (a, b) in enumerate(zip(content, damaged, strict=True)) if a != b]
                assert (content[place] ^ damaged[place]).bit_count() == 1
                block, offset = divmod(place, 4096)
                assert 1 <= block <= 6
                assert offset < 256 + 64 + len(b"payload")
            assert (copy / original.name).read_bytes() == content
    assert not copy.exists()
    assert original.read_bytes() == content
