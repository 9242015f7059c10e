"""A coordinator in one SQLite file, for nodes that are processes of one machine.

Such a cluster survives the end of any of its processes, and not that of its machine.

The file holds one row. Every change is one transaction that begins with ``BEGIN IMMEDIATE``, so its comparison and its
write are one; it is synced before it is answered (``synchronous=EXTRA``, which syncs the directory too once the journal
is removed). A watch asks for ``PRAGMA data_version``, which tells whether another connection changed the file and costs
a read of one cached page. SQLite's locks reach no further than one machine, so the file must be local, and it
remembers on which machine it was made. It is a file of its own and has no rows that are renewed, so nobody waits for it
in normal running.
"""

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from penstock.host.clock import SYSTEM_CLOCK, Clock
from replication.coordinator.coordinator import ClusterRecord, SwapResult
from replication.coordinator.errors import (
    CoordinatorDamaged,
    CoordinatorElsewhere,
    CoordinatorForeign,
    CoordinatorUnavailable,
)
from replication.coordinator.locality import machine_id, require_local

_VERSION: Final = 1
_APPLICATION_ID: Final = int.from_bytes(b"PSCO", "big")
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS cluster (
    only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
    cluster_id TEXT NOT NULL,
    machine_id TEXT NOT NULL,
    version    INTEGER NOT NULL,
    epoch      INTEGER NOT NULL,
    candidate  INTEGER NOT NULL,
    token      BLOB NOT NULL,
    generation INTEGER NOT NULL,
    membership BLOB NOT NULL
) STRICT
"""
_BEGINNING: Final = "INSERT OR IGNORE INTO cluster VALUES (1, ?, ?, 1, 0, 0, x'', 0, x'')"
_READ: Final = "SELECT version, epoch, candidate, token, generation, membership FROM cluster"
_SWAP_EPOCH: Final = "UPDATE cluster SET version = version + 1, epoch = ?, candidate = ?, token = ? WHERE epoch = ?"
_SWAP_MEMBERSHIP: Final = (
    "UPDATE cluster SET version = version + 1, generation = ?, membership = ? WHERE generation = ?"
)
ANSWER_S: Final = 2.0
"""How long a call waits for other writers at most, each of which takes milliseconds."""
POLL_S: Final = 0.05
"""How often a watch looks for changes."""


class SqliteCoordinator:
    """See `replication.coordinator.coordinator`; a context manager that closes it.

    Args:
        path: the file, which is made where there is none, in a directory that exists.
        cluster_id: whose record it is.
        machine: identity of this machine.
        answer_s: how long a call may take, in seconds.
        clock: what watches wait by.

    Raises:
        CoordinatorForeign: the file is another cluster's.
        CoordinatorElsewhere: it was made on another machine, or is where other machines may open it.
        CoordinatorDamaged: it is no coordinator's file, or of a newer version.
        CoordinatorUnavailable: it cannot be opened, or does not answer in time.
    """

    def __init__(
        self,
        path: Path,
        cluster_id: int,
        *,
        machine: str | None = None,
        answer_s: float = ANSWER_S,
        clock: Clock = SYSTEM_CLOCK,
    ) -> None:
        require_local(path)
        self._path = path
        self._answer_s = answer_s
        self._clock = clock
        self._closed = threading.Event()
        self._calling = threading.Lock()
        self._cluster_id = f"{cluster_id:016x}"
        self._machine = machine or machine_id()
        with self._told():
            self._connection, self._file = self._open()

    def read(self) -> ClusterRecord:
        """See `Coordinator.read`."""
        with self._in_place() as connection:  # one statement is a transaction, and waits for no writer's sync
            return _record(connection)

    def cas_epoch(self, expected: int, epoch: int, candidate: int, token: bytes) -> SwapResult:
        """See `Coordinator.cas_epoch`."""
        if epoch <= expected:
            raise ValueError(f"epoch {epoch} after epoch {expected}: epochs only rise")
        with self._transaction() as connection:
            swapped = connection.execute(_SWAP_EPOCH, (epoch, candidate, token, expected)).rowcount == 1
            record = _record(connection)
        wanted = (epoch, candidate, token)
        return SwapResult(swapped or (record.epoch, record.candidate, record.token) == wanted, record)

    def cas_membership(self, expected: int, generation: int, membership: bytes) -> SwapResult:
        """See `Coordinator.cas_membership`."""
        if generation <= expected:
            raise ValueError(f"membership generation {generation} after {expected}: generations only rise")
        with self._transaction() as connection:
            swapped = connection.execute(_SWAP_MEMBERSHIP, (generation, membership, expected)).rowcount == 1
            record = _record(connection)
        return SwapResult(swapped or (record.generation, record.membership) == (generation, membership), record)

    def watch(self) -> Iterator[ClusterRecord]:
        """See `Coordinator.watch`. It has a connection of its own: a connection's own changes do not show in it."""
        seen = None
        while not self._closed.is_set():
            with contextlib.suppress(CoordinatorUnavailable, sqlite3.OperationalError):  # away, or busy: look again
                for record in self._changes():
                    if record != seen:
                        seen = record
                        yield record
            self._clock.wait(self._closed, POLL_S)

    def _changes(self) -> Iterator[ClusterRecord]:
        """Yield the record after each change of the file, until another file stands in its place."""
        with self._told():
            connection, file = self._connect()
        with contextlib.closing(connection):
            seen = None
            while not self._closed.is_set() and self._is_in_place(file):
                (data_version,) = connection.execute("PRAGMA data_version").fetchone()
                if data_version != seen:
                    record = _record(connection)
                    seen = data_version
                    yield record
                self._clock.wait(self._closed, POLL_S)

    def close(self) -> None:
        """See `Coordinator.close`."""
        self._closed.set()
        with self._calling:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _open(self) -> tuple[sqlite3.Connection, os.stat_result]:
        connection, file = self._connect()
        try:
            self._prepare(connection)
        except BaseException:
            connection.close()
            raise
        return connection, file

    def _connect(self) -> tuple[sqlite3.Connection, os.stat_result]:
        connection = sqlite3.connect(self._path, timeout=self._answer_s, isolation_level=None, check_same_thread=False)
        try:
            connection.execute("PRAGMA synchronous = EXTRA")
            return connection, self._path.stat()
        except BaseException:
            connection.close()
            raise

    def _is_in_place(self, file: os.stat_result) -> bool:
        """Whether the file that was opened is the one at the path: a restored copy may have taken its place."""
        try:
            return os.path.samestat(file, self._path.stat())
        except OSError:
            return False

    def _prepare(self, connection: sqlite3.Connection) -> None:
        """Make the row where there is none, and see whose it is."""
        with _immediate(connection):
            (application_id,) = connection.execute("PRAGMA application_id").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
            if tables == 0:
                connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                connection.execute(f"PRAGMA user_version = {_VERSION}")
            elif application_id != _APPLICATION_ID:
                raise CoordinatorDamaged(
                    f"{self._path} is a database of something else: give the coordinator its own file"
                )
            elif version > _VERSION:
                raise CoordinatorDamaged(
                    f"{self._path} is of version {version}, newer than {_VERSION}: upgrade this node"
                )
            connection.execute(_SCHEMA)
            connection.execute(_BEGINNING, (self._cluster_id, self._machine))
            cluster_id, machine = connection.execute("SELECT cluster_id, machine_id FROM cluster").fetchone()
        if machine != self._machine:
            raise CoordinatorElsewhere(
                f"{self._path} was made on another machine ({machine}, this is {self._machine}): its nodes may still "
                f"run there; across machines use etcd"
            )
        if cluster_id != self._cluster_id:
            raise CoordinatorForeign(
                f"{self._path} coordinates cluster {cluster_id}, not {self._cluster_id}: every cluster needs its "
                f"own file"
            )

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._in_place() as connection, _immediate(connection):
            yield connection

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[sqlite3.Connection]:
        """A connection to the file that is at the path now."""
        with self._calling, self._told():
            if not (self._closed.is_set() or self._is_in_place(self._file)):
                connection, file = self._open()
                self._connection.close()
                self._connection, self._file = connection, file
            yield self._connection

    @contextlib.contextmanager
    def _told(self) -> Iterator[None]:
        """Say SQLite's errors in the coordinator's words."""
        try:
            yield
        except sqlite3.ProgrammingError as error:
            raise CoordinatorUnavailable(f"the coordinator's file {self._path} was closed") from error
        except sqlite3.OperationalError as error:
            raise CoordinatorUnavailable(
                f"the coordinator's file {self._path} does not answer ({error}): its directory must exist and be "
                f"writable, and no other program may hold it"
            ) from error
        except sqlite3.DatabaseError as error:
            raise CoordinatorDamaged(
                f"{self._path} cannot be read ({error}): stop all nodes of the cluster, remove it, and start them "
                f"again; the nodes remember their epochs and their membership themselves"
            ) from error


@contextlib.contextmanager
def _immediate(connection: sqlite3.Connection) -> Iterator[None]:
    """A transaction that holds the write lock from its beginning, so that what it reads stays true."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _record(connection: sqlite3.Connection) -> ClusterRecord:
    return ClusterRecord(*connection.execute(_READ).fetchone())
