"""Locality: whether a file stands on this machine alone, which is all that SQLite's locks can protect."""

import hashlib
import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

import psutil

from replication.coordinator.errors import CoordinatorElsewhere

_MACHINE_ID_FILES: Final = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_NETWORK: Final = {"afs", "cifs", "coda", "davfs", "ncpfs", "nfs", "nfs4", "smb2", "smb3", "smbfs"}
_CLUSTERED: Final = {"beegfs", "ceph", "gfs", "gfs2", "glusterfs", "gpfs", "lustre", "ocfs2", "orangefs", "pvfs2"}
_IN_USER_SPACE: Final = {"fuse.cephfs", "fuse.glusterfs", "fuse.s3fs", "fuse.sshfs"}
_OF_A_HOST: Final = {"9p", "vboxsf", "virtiofs"}
_SHARED_FILE_SYSTEMS: Final = frozenset(_NETWORK | _CLUSTERED | _IN_USER_SPACE | _OF_A_HOST)
"""Types that several machines may mount at once; their locks are missing, or are not those of a local file."""


class Mount(NamedTuple):
    """A mounted file system."""

    place: Path
    kind: str
    """Its type, as mount(8) names it."""


def mounts() -> list[Mount]:
    """Give what is mounted on this machine, in the order of mounting."""
    return [Mount(Path(found.mountpoint), found.fstype) for found in psutil.disk_partitions(all=True)]


def machine_id() -> str:
    """Give the identity of this machine, the same for all its processes and after a restart.

    It is systemd's machine id, see machine-id(5), hashed as that page asks for; the host's name where there is none, as
    in many containers.
    """
    for path in _MACHINE_ID_FILES:
        try:
            found = path.read_text().strip()
        except OSError:
            continue
        if found and found != "uninitialized":
            return hashlib.sha256(f"penstock coordinator {found}".encode()).hexdigest()[:32]
    return f"host {socket.gethostname()}"


def require_local(path: Path, mounts: Callable[[], Iterable[Mount]] = mounts) -> None:
    """Refuse a path on a file system that other machines may share.

    Args:
        path: of a file that is there, or will be.
        mounts: gives what is mounted where.

    Raises:
        CoordinatorElsewhere: it is on one.
    """
    kind = _file_system(path.absolute(), mounts())
    if kind in _SHARED_FILE_SYSTEMS:
        raise CoordinatorElsewhere(
            f"{path} is on a file system that other machines may share ({kind}): a coordinator's file must be on a "
            f"disk of this machine; across machines use etcd"
        )


def _file_system(path: Path, mounts: Iterable[Mount]) -> str:
    """Type of the file system that a file is on, or will be: the one mounted nearest above it."""
    depth, kind = 0, ""
    for mount in mounts:
        if (
            path.is_relative_to(mount.place) and len(mount.place.parts) >= depth
        ):  # of two at one place the later is seen
            depth, kind = len(mount.place.parts), mount.kind
    return kind
