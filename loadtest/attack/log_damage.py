"""Damage at rest: changes single bits in a copy of a log, and sees whether its verification finds them."""

import shutil
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from random import Random
from typing import Final

from loadtest.node.node_process import PENSTOCK

_PAGE: Final = 4096
_HEADER_BYTES: Final = {1: 128, 2: 256}
"""By version of the format."""
_RECORD_BYTES: Final = 64
_LENGTHS: Final = struct.Struct("<II")
_LENGTHS_AT: Final = 40
_VERIFY_S: Final = 120.0
_SURE_SHARE: Final = 0.75
"""Of the blocks; the last ones of a log that is being written may count as torn, and are cut off."""


@contextmanager
def copy_of(log: Path, directory: Path) -> Iterator[Path]:
    """A copy of a log that may be in use: as far as it got at that moment."""
    copy = directory / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    copy.mkdir()
    try:
        for path in sorted(log.iterdir()):
            if path.is_file():
                shutil.copyfile(path, copy / path.name)
        yield copy
    finally:
        shutil.rmtree(copy, ignore_errors=True)


def is_found_whole(log: Path) -> bool:
    """What ``penstock log verify`` says."""
    done = subprocess.run([*PENSTOCK, "log", "verify", str(log)], check=False, capture_output=True, timeout=_VERIFY_S)
    return done.returncode == 0


@contextmanager
def one_bit_changed(log: Path, random: Random) -> Iterator[str]:
    """Change a bit of a block that is certainly durable; yields where, and changes it back."""
    blocks = [block for path in sorted(log.glob("*.segment")) for block in _blocks(path)]
    path, offset, size = random.choice(blocks[: max(1, int(len(blocks) * _SURE_SHARE))])
    at, bit = offset + random.randrange(size), 1 << random.randrange(8)
    _flip(path, at, bit)
    try:
        yield f"bit {bit:#x} of byte {at} in {path.name}, in the block at {offset}"
    finally:
        _flip(path, at, bit)


def _blocks(path: Path) -> Iterator[tuple[Path, int, int]]:
    """Path, offset and size of each block."""
    content = path.read_bytes()
    offset = _PAGE
    while content[offset : offset + 4] == b"PSBK":
        count, payload_bytes = _LENGTHS.unpack_from(content, offset + _LENGTHS_AT)
        size = _HEADER_BYTES[content[offset + 4]] + count * _RECORD_BYTES + payload_bytes
        yield path, offset, size
        offset += size + -size % _PAGE


def _flip(path: Path, at: int, bit: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes((byte ^ bit,)))
