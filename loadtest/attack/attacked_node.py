"""Attacked node: a real node, where root on a small file system of its own that can be filled and frozen."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil

from loadtest.node.leftovers import cleared_away, temporary_directory
from loadtest.node.node_process import NodeProcess

_MIB: Final = 1 << 20
_LEFT_FREE_BYTES: Final = 4096

SETTINGS: Final = {
    "state.bytes_max": str(256 * _MIB),
    "pooling.bytes_max": str(256 * _MIB),
    "log.segment_bytes": str(16 * _MIB),
}
"""Small, so that bounds are met."""


class AttackedNode:
    """The node, and what can be done to it from outside."""

    def __init__(self, process: NodeProcess, volume: Path | None) -> None:
        self.process = process
        self._volume = volume
        self._filling = process.data_dir / "filling"

    @property
    def target(self) -> str:
        """Where it listens."""
        return self.process.target

    @property
    def has_volume(self) -> bool:
        """Whether its file system is its own, to be filled and frozen."""
        return self._volume is not None

    def memory_mib(self) -> int:
        """Resident memory; 0 while it does not run."""
        try:
            return int(psutil.Process(self.process.pid).memory_info().rss) // _MIB
        except psutil.NoSuchProcess:
            return 0

    def fill(self) -> None:
        """Use up its disk."""
        assert self._volume is not None
        with self._filling.open("wb") as file:
            room = os.statvfs(self._volume)
            size = room.f_bavail * room.f_frsize
            while size > _LEFT_FREE_BYTES:
                try:
                    os.posix_fallocate(file.fileno(), file.tell(), size)
                    file.seek(0, os.SEEK_END)
                except OSError:
                    size //= 2

    def free(self) -> None:
        """Give its disk back."""
        self._filling.unlink(missing_ok=True)

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Its disk hangs: writes and syncs do not end."""
        assert self._volume is not None
        subprocess.run(["fsfreeze", "-f", self._volume], check=True)
        try:
            yield
        finally:
            subprocess.run(["fsfreeze", "-u", self._volume], check=True)


@contextmanager
def attacked_node(directory: Path, volume_mib: int) -> Iterator[AttackedNode]:
    """A node that serves, with its data under ``directory``; all of it is gone afterwards.

    Raises:
        NodeFailed: it did not start.
    """
    with ExitStack() as stack:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        stack.enter_context(cleared_away(directory))
        volume = stack.enter_context(_volume(directory, volume_mib))
        sockets = stack.enter_context(temporary_directory())
        options = [f"--set={name}={value}" for name, value in SETTINGS.items()]
        data_dir = (volume or directory) / "data"
        process = NodeProcess(data_dir, sockets / "node.sock", *options, output=directory / "node.out")
        stack.callback(process.kill)
        process.start()
        yield AttackedNode(process, volume)


@contextmanager
def _volume(directory: Path, volume_mib: int) -> Iterator[Path | None]:
    """A file system in a file, or None where this user may not mount one."""
    image, mount = directory / "volume.image", directory / "volume"
    if os.geteuid() != 0 or any(shutil.which(tool) is None for tool in ("mkfs.ext4", "mount", "fsfreeze")):
        yield None
        return
    mount.mkdir()
    with image.open("wb") as file:
        file.truncate(volume_mib * _MIB)
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    mounted = subprocess.run(["mount", "-o", "loop", image, mount], check=False, capture_output=True)
    if mounted.returncode != 0:
        yield None
        return
    with cleared_away(mount, is_mount=True):
        yield mount
