"""Rooms stay small enough to be taken in at a glance: `docs/decisions/rooms-and-layers.md`."""

import subprocess
from collections import Counter
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).parents[1]
FILES_MAX = 15
FOLDERS_MAX = 9
GENERATED = {PurePosixPath("penstock/v1")}
"""Nobody reads these: `make protos` writes four of them for each proto."""
SIDE_BY_SIDE = {PurePosixPath(), PurePosixPath("tests")}
"""The packages, and the folder that mirrors them, are no rooms."""


@pytest.fixture(scope="module")
def rooms() -> Counter[PurePosixPath]:
    """Python files of each folder of the project: those that git has, and those that it would be given."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.py"]
    listed = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    return Counter(PurePosixPath(name).parent for name in listed if (ROOT / name).exists())


def test_no_room_has_more_than_fifteen_files(rooms: Counter[PurePosixPath]) -> None:
    crowded = {str(room): files for room, files in rooms.items() if files > FILES_MAX and room not in GENERATED}
    assert crowded == {}, "cut these rooms where their files change apart"


def test_no_room_has_more_than_nine_rooms_in_it(rooms: Counter[PurePosixPath]) -> None:
    folders = {folder for room in rooms for folder in (room, *room.parents)} - SIDE_BY_SIDE
    levels = Counter(folder.parent for folder in folders if folder.parent not in SIDE_BY_SIDE)
    crowded = {str(level): inside for level, inside in levels.items() if inside > FOLDERS_MAX}
    assert crowded == {}, "give some of these rooms one of their own"
