"""Promise record: the file ``promise``, in which a node keeps what it has bound itself to, beside its log.

It holds the ballot that the node promised, the membership that it knows, and what it knows to be committed, as one
record that is stored whole. A promise that is lost is worse than a log that is lost: the node would vote twice. So
each record stands twice, in two pages, and is stored in one after the other, each synced before the next is written:

* A crash tears one page at most, and the other one is whole. While the first is written, the second still holds the
  record before, which is right, as nobody was told of the new one. While the second is written, the first holds the
  new one.
* At rest both pages hold the same record. A page that is damaged later leaves the other one, with the *newest* record.
  Two slots of alternating records would leave an older one then, and it would look like a torn write.
* Pages are written in place, so a full disk, which refuses new files, does not keep a node from promising. Writing a
  new file and renaming it over the old one takes room, as many syncs, and keeps no second copy.

The pages are made alike when the record is opened, before anything else is stored; the file is synced before, since
what a killed process wrote may be read and not yet be durable. Where neither page is whole the record is *lost*. That
is not "no promise": a node without its record must not vote until it has recovered from the others.
"""

import json
import os
import struct
import threading
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from pooling.buffers import aligned_buffer
from replication.log.ballot import NO_BALLOT, Ballot
from replication.log.block import PAGE_BYTES
from replication.log.directory.log_metadata import LogMetadata
from replication.log.disk import Disk
from replication.log.errors import LogFailed, LogVersionUnsupported, PromiseLost

_HEAD: Final = struct.Struct("<4sIQQQI")
"""Magic, version, cluster, log, number of the record, bytes of JSON behind it."""
_CRC: Final = struct.Struct("<I")
_CRC_AT: Final = PAGE_BYTES - _CRC.size
_MAGIC: Final = b"PSPR"
_VERSION: Final = 1
_PAGES: Final = 2


@dataclass(frozen=True, slots=True)
class PromiseRecord:
    """What a node has bound itself to. A new node has promised nothing, and does not vote."""

    ballot: Ballot = NO_BALLOT
    """Appends, seals and recovery reads of lower ones are refused."""
    generation: int = 0
    """Of the newest membership known; 0 where there is none."""
    voters: tuple[int, ...] = ()
    """Nodes whose logs decide what is committed, ascending."""
    leaving: tuple[int, ...] = ()
    """The voters before a change that is under way."""
    learners: tuple[int, ...] = ()
    """Nodes that get the log and decide nothing."""
    incarnation: int = 0
    """Counts the disks that this node has lost."""
    incarnations: tuple[tuple[int, int, int], ...] = ()
    """Of other nodes: node, how many disks it has lost, id of its log."""
    voting: bool = False
    """False while the node may have forgotten what it promised or acknowledged."""
    commit_index: int = 0
    """All blocks up to it are committed, and were durable here."""

    def has_peers(self, node: int) -> bool:
        """Whether there are nodes besides ``node`` to repair its log from."""
        return bool({*self.voters, *self.leaving, *self.learners} - {node})


class PromiseStore:
    """The record of one node, open for writing. Safe to use from any thread."""

    def __init__(self, directory: Path, metadata: LogMetadata, disk: Disk) -> None:
        """Open the record that `make_promise` made with the log, and make its pages alike.

        Raises:
            LogVersionUnsupported: it is in a newer format.
            OSError: the disk failed.
        """
        self._path, self._metadata, self._disk = _path(directory), metadata, disk
        self._page = aligned_buffer(PAGE_BYTES)
        self._storing = threading.Lock()
        self._failure: str | None = None
        self._fd = -1
        self._number = 0
        self._record: PromiseRecord | None = None
        if not self._path.exists():
            return
        found = _read_pages(self._path, metadata)
        self._fd = disk.open(self._path, os.O_RDWR)
        newest = max((page for page in found if page is not None), key=lambda page: page[0], default=None)
        if newest is None:
            return
        self._number, self._record = newest
        if any(page != newest for page in found):
            try:
                self._disk.sync(self._fd)
                self._write(self._record, [number for number, page in enumerate(found) if page != newest])
            except BaseException:
                self.close()
                raise

    def read(self) -> PromiseRecord:
        """Return the newest record.

        Raises:
            PromiseLost: it is damaged or missing: the node must not vote.
            LogFailed: storing one failed, and what the disk holds is unknown.
        """
        self._check()
        if self._record is None:
            raise PromiseLost(self._path)
        return self._record

    def store(self, record: PromiseRecord) -> None:
        """Replace the record, durably; a reply that rests on the new one may leave on return.

        Raises:
            PromiseLost: the one before is damaged or missing, see `begin_anew`.
            LogFailed: the disk failed, and what it holds is unknown: the node must stop.
        """
        with self._storing:
            before = self.read()
            assert record.ballot >= before.ballot, "a promise is never taken back"
            assert record.generation >= before.generation
            self._store(record)

    def begin_anew(self) -> None:
        """Replace a record that was lost: by one of a node that promised nothing, and so must not vote yet.

        Raises:
            LogFailed: the disk failed.
        """
        with self._storing:
            self._check()
            assert self._record is None, "the record is there"
            try:
                if self._fd < 0:
                    make_promise(self._path.parent, self._metadata, self._disk)
                    self._fd = self._disk.open(self._path, os.O_RDWR)
            except OSError as error:
                raise self._fail(error) from error
            self._store(PromiseRecord())

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            self._disk.close(self._fd)
            self._fd = -1

    def _store(self, record: PromiseRecord) -> None:
        self._number += 1
        try:
            self._write(record, range(_PAGES))
        except OSError as error:
            raise self._fail(error) from error
        self._record = record

    def _write(self, record: PromiseRecord, pages: "range | list[int]") -> None:
        self._page[:] = np.frombuffer(_packed(self._metadata, self._number, record), np.uint8)
        for page in pages:
            self._disk.write(self._fd, [self._page], page * PAGE_BYTES)
            self._disk.sync(self._fd)

    def _check(self) -> None:
        if self._failure is not None:
            raise LogFailed(self._path, self._failure)

    def _fail(self, error: OSError) -> LogFailed:
        self._failure = str(error.strerror or error)
        return LogFailed(self._path, self._failure)


def make_promise(directory: Path, metadata: LogMetadata, disk: Disk) -> None:
    """Write the record of a node that has promised nothing, durably, and under its name only when it is whole.

    It is made before the log's metadata name the node: a node with a number that has no record has lost it.

    Raises:
        OSError: the disk failed, or there is no room.
    """
    path = _path(directory)
    unfinished = path.with_suffix(".new")
    pages = aligned_buffer(_PAGES * PAGE_BYTES)
    pages[:] = np.frombuffer(_packed(metadata, 0, PromiseRecord()) * _PAGES, np.uint8)
    fd = disk.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        disk.write(fd, [pages], 0)
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(unfinished, path)


def _packed(metadata: LogMetadata, number: int, record: PromiseRecord) -> bytes:
    content = json.dumps(
        {
            "ballot": record.ballot,
            "generation": record.generation,
            "voters": record.voters,
            "leaving": record.leaving,
            "learners": record.learners,
            "incarnation": record.incarnation,
            "incarnations": record.incarnations,
            "voting": record.voting,
            "commit_index": record.commit_index,
        }
    ).encode()
    page = _HEAD.pack(_MAGIC, _VERSION, metadata.cluster_id, metadata.log_id, number, len(content)) + content
    assert len(page) <= _CRC_AT, "a cluster has some dozens of nodes at most"
    page = page.ljust(_CRC_AT, b"\0")
    return page + _CRC.pack(zlib.crc32(page))


def _read_pages(path: Path, metadata: LogMetadata) -> list[tuple[int, PromiseRecord] | None]:
    content = path.read_bytes()
    return [_parse(path, content[page * PAGE_BYTES : (page + 1) * PAGE_BYTES], metadata) for page in range(_PAGES)]


def _parse(path: Path, page: bytes, metadata: LogMetadata) -> tuple[int, PromiseRecord] | None:
    if len(page) < PAGE_BYTES or zlib.crc32(page[:_CRC_AT]) != _CRC.unpack_from(page, _CRC_AT)[0]:
        return None
    magic, version, cluster_id, log_id, number, size = _HEAD.unpack_from(page)
    if magic != _MAGIC or (cluster_id, log_id) != (metadata.cluster_id, metadata.log_id):
        return None
    if version > _VERSION:
        raise LogVersionUnsupported(path, f"format version {version}")
    return number, _record_of(json.loads(page[_HEAD.size : _HEAD.size + size]))


def _record_of(content: dict[str, Any]) -> PromiseRecord:
    return PromiseRecord(
        ballot=Ballot(*content["ballot"]),
        generation=content["generation"],
        voters=tuple(content["voters"]),
        leaving=tuple(content["leaving"]),
        learners=tuple(content["learners"]),
        incarnation=content["incarnation"],
        incarnations=tuple((node, lost, log_id) for node, lost, log_id in content["incarnations"]),
        voting=content["voting"],
        commit_index=content["commit_index"],
    )


def _path(directory: Path) -> Path:
    return directory / "promise"
