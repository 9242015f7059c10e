"""Errors of blocks and of the log; each message says what to do about it."""

from pathlib import Path


class ReplicationError(Exception):
    """Root of what this package raises."""


class BlockInvalid(ReplicationError):
    """These bytes are not a whole, unaltered block."""


class BlockUnsupported(ReplicationError):
    """A whole block that needs what this program does not know: a newer format, a cipher, a hash, a flag."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what}, which this program does not know: use a version that does")
        self.what = what


class SegmentInvalid(ReplicationError):
    """These bytes are not a segment's header."""


class LogError(ReplicationError):
    """Root of what the write-ahead log raises."""


class LogMissing(LogError):
    """There is no log here."""

    def __init__(self, directory: Path) -> None:
        super().__init__(f"{directory} holds no log: give the directory of a node's log, log in its data directory")


class LogInUse(LogError):
    """Another process holds the log's lock."""

    def __init__(self, directory: Path, holder: str) -> None:
        super().__init__(
            f"log {directory} is in use by process {holder or 'unknown'}: stop that node, or use another directory"
        )


class LogForeign(LogError):
    """The log belongs to another cluster."""

    def __init__(self, path: Path, found: int, wanted: int) -> None:
        super().__init__(
            f"{path} belongs to cluster {found:016x}, this node to {wanted:016x}: "
            "point the node at its own log, or correct its cluster id"
        )
        self.found = found


class LogOfAnotherNode(LogError):
    """The log belongs to another node of the cluster."""

    def __init__(self, directory: Path, found: int, wanted: int) -> None:
        super().__init__(
            f"{directory} is the log of node {found}, and this is node {wanted}: point the node at its own log; "
            "to replace a node, start the new one with an empty directory"
        )
        self.found = found


class PromiseLost(LogError):
    """What the node promised is not known any more."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"what this node promised is damaged or missing in {path}: it must not vote before it has recovered from "
            "the other nodes; nothing that it promised may be taken as not promised"
        )


class LogVersionUnsupported(LogError):
    """The log is in a format newer than this program, or uses something that is."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(
            f"{path} has {what}, which this program does not know: "
            "start a version at least as new as the one that wrote it"
        )


class LogTooOld(LogError):
    """The log was begun by a version that did not write down what its replay depends on now."""

    def __init__(self, path: Path, missing: str) -> None:
        super().__init__(
            f"{path} does not say {missing}: it was begun by an earlier version, whose answers this one would not give "
            "again; run that version on it, or start with a new data directory"
        )
        self.missing = missing


class LogReadOnly(LogError):
    """The log's directory cannot be written."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot write the log at {path} ({reason}): give the node's user write access")


class LogFull(LogError):
    """No space for another segment. Nothing is broken: the log stays as it is, and goes on once there is space."""

    def __init__(self, directory: Path, needed_bytes: int, reason: str) -> None:
        super().__init__(
            f"no space for {needed_bytes} more bytes in {directory} ({reason}): free or add disk space; "
            "a running node then goes on by itself, one that did not start has to be started again"
        )


class LogBusy(LogError):
    """The system is short of something for the moment. Nothing is broken: it is tried again, and the log goes on."""

    def __init__(self, directory: Path, reason: str) -> None:
        super().__init__(
            f"the system gave the log at {directory} no more descriptors, memory or threads ({reason}): "
            "raise the limit or end what takes them; a running node goes on by itself"
        )


class LogCannotGrow(LogError):
    """The file system refuses what preparing a segment takes: a node would stop at its first transactions."""

    def __init__(self, directory: Path, segment_bytes: int, reason: str) -> None:
        super().__init__(
            f"the log at {directory} cannot grow: preparing a segment of {segment_bytes} bytes failed ({reason}): "
            "check the disk, put it on another file system, or lower log.segment_bytes where files may not be as long"
        )


class LogFailed(LogError):
    """A write or a sync failed. What the disk holds is unknown until the log is opened again: the node must stop."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"writing the log at {path} failed ({reason}): stop the node, check the disk, and start again; "
            "recovery finds what was made durable"
        )


class LogMoved(LogFailed):
    """The log's directory is no longer where it was opened, so what the log writes by name would go elsewhere."""

    def __init__(self, directory: Path) -> None:
        super(LogFailed, self).__init__(  # LogFailed's advice is for a disk that fails
            f"{directory} is no longer the directory that this log was opened in: "
            "move a log only while no node has it open; start the node again where the log is now"
        )


class LogCorrupted(LogError):
    """Blocks that had been durable are damaged or missing."""

    def __init__(self, file: Path, offset: int, index: int | None, what: str) -> None:
        where = f"offset {offset}" + (f", where block {index} should be" if index is not None else "")
        super().__init__(
            f"{file} is corrupted at {where}: {what}. "
            "No durable block was changed. Restore this log from a backup or another node; do not cut it by hand"
        )
        self.file, self.offset, self.index, self.what = file, offset, index, what


class LogRecycled(LogError):
    """The block is older than the log reaches back."""

    def __init__(self, index: int, first_index: int) -> None:
        super().__init__(
            f"block {index} was recycled, the log starts at {first_index}: read on from a snapshot of the state"
        )
        self.first_index = first_index


class LogTruncated(LogError):
    """A block that was read has been cut off since, and another may stand in its place."""

    def __init__(self, index: int) -> None:
        super().__init__(f"block {index} was cut off while the log was read: read again from a block that is committed")
        self.index = index
