"""The coordinator in a SQLite file: what every coordinator promises, and what a file can meet."""

import multiprocessing
import os
import shutil
import signal
import sqlite3
import threading
from pathlib import Path

import pytest

from penstock.host.clock import SYSTEM_CLOCK
from replication.coordinator import ClusterRecord, Coordinator
from replication.coordinator.errors import (
    CoordinatorDamaged,
    CoordinatorElsewhere,
    CoordinatorForeign,
    CoordinatorUnavailable,
)
from replication.coordinator.locality import Mount, machine_id, mounts, require_local
from replication.coordinator.sqlite_coordinator import SqliteCoordinator
from tests.eventually import eventually
from tests.replication.coordinator.contract import CoordinatorContract, follow

CLUSTER = 0xC1
PATIENT_S = 30.0
"""Others write all the time in some tests, and SQLite lets nobody in by turns."""


class TestSqliteCoordinator(CoordinatorContract):
    @pytest.fixture(autouse=True)
    def _file(self, tmp_path: Path) -> None:
        self.path = tmp_path / "coordinator"

    def open(self) -> Coordinator:
        return SqliteCoordinator(self.path, CLUSTER, answer_s=PATIENT_S)


def _take_epochs(path: Path) -> None:
    with SqliteCoordinator(path, CLUSTER, answer_s=PATIENT_S) as coordinator:
        while True:
            epoch = coordinator.read().epoch
            coordinator.cas_epoch(epoch, epoch + 1, 1, b"%d" % epoch)
            SYSTEM_CLOCK.wait(
                threading.Event(), 0.001
            )  # SQLite's waiting is not fair: without a pause nobody gets a turn


def _wait_for_epoch(coordinator: Coordinator, epoch: int) -> None:
    eventually(lambda: coordinator.read().epoch > epoch, "the writer's epochs")


def test_a_writer_that_is_killed_leaves_a_whole_record_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "coordinator"
    with SqliteCoordinator(path, CLUSTER, answer_s=PATIENT_S) as coordinator:
        for _ in range(5):
            before = coordinator.read().epoch
            writer = multiprocessing.get_context("spawn").Process(target=_take_epochs, args=(path,), daemon=True)
            writer.start()
            _wait_for_epoch(coordinator, before + 20)
            assert writer.pid is not None
            os.kill(writer.pid, signal.SIGKILL)
            writer.join()
            record = coordinator.read()
            assert record.token == b"%d" % (record.epoch - 1)
            assert record.version == record.epoch + 1, "every epoch was one change"


def test_a_cluster_does_not_take_the_file_of_another(tmp_path: Path) -> None:
    SqliteCoordinator(tmp_path / "coordinator", 1).close()
    with pytest.raises(CoordinatorForeign, match="every cluster needs its own file"):
        SqliteCoordinator(tmp_path / "coordinator", 2)


def test_a_file_that_came_from_another_machine_is_refused(tmp_path: Path) -> None:
    SqliteCoordinator(tmp_path / "coordinator", CLUSTER, machine="another").close()
    with pytest.raises(CoordinatorElsewhere, match="made on another machine"):
        SqliteCoordinator(tmp_path / "coordinator", CLUSTER)


def test_a_file_system_that_machines_share_is_refused() -> None:
    mounted = [Mount(Path("/"), "ext4"), Mount(Path("/shared"), "nfs4"), Mount(Path("/shared/own"), "xfs")]
    with pytest.raises(CoordinatorElsewhere, match=r"\(nfs4\).*use etcd"):
        require_local(Path("/shared/deeper/coordinator"), lambda: mounted)
    require_local(Path("/shared/own/coordinator"), lambda: mounted)
    require_local(Path("/sharedness/coordinator"), lambda: mounted)


def test_what_is_mounted_here_is_known(tmp_path: Path) -> None:
    require_local(tmp_path / "coordinator")
    assert Path("/") in [mount.place for mount in mounts()]


def test_the_identity_of_a_machine_stays_and_does_not_tell_its_machine_id() -> None:
    assert machine_id() == machine_id()
    for path in (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id")):
        if path.exists() and path.read_text().strip():
            assert path.read_text().strip() not in machine_id()


@pytest.mark.parametrize("content", [b"not a database at all" * 400, b"SQLite format 3\0" + bytes(4080)])
def test_a_damaged_file_says_what_to_do(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "coordinator").write_bytes(content)
    with pytest.raises(CoordinatorDamaged, match="stop all nodes"):
        SqliteCoordinator(tmp_path / "coordinator", CLUSTER)


def test_the_database_of_another_program_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "coordinator"
    with sqlite3.connect(path) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = path.read_bytes()
    with pytest.raises(CoordinatorDamaged, match="something else"):
        SqliteCoordinator(path, CLUSTER)
    assert path.read_bytes() == before


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "coordinator"
    SqliteCoordinator(path, CLUSTER).close()
    with sqlite3.connect(path) as newer:
        newer.execute("PRAGMA user_version = 2")
    with pytest.raises(CoordinatorDamaged, match="upgrade this node"):
        SqliteCoordinator(path, CLUSTER)


def test_a_directory_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(CoordinatorUnavailable, match="must exist and be writable"):
        SqliteCoordinator(tmp_path / "missing" / "coordinator", CLUSTER)


def test_a_writer_that_holds_the_file_costs_its_bound_and_no_more(tmp_path: Path) -> None:
    path = tmp_path / "coordinator"
    with SqliteCoordinator(path, CLUSTER, answer_s=0.1) as coordinator:
        holder = sqlite3.connect(path, isolation_level=None)
        holder.execute("BEGIN EXCLUSIVE")
        with pytest.raises(CoordinatorUnavailable, match="locked"):
            coordinator.cas_epoch(0, 1, 1, b"")
        holder.execute("ROLLBACK")
        holder.close()
        assert coordinator.cas_epoch(0, 1, 1, b"").swapped


def test_a_copy_that_is_put_back_in_its_place_is_what_everybody_sees(tmp_path: Path) -> None:
    path, backup = tmp_path / "coordinator", tmp_path / "backup"
    with SqliteCoordinator(path, CLUSTER) as coordinator:
        coordinator.cas_epoch(0, 1, 1, b"")
        shutil.copy(path, backup)
        coordinator.cas_epoch(1, 7, 2, b"")
        seen: list[ClusterRecord] = []
        follower = SqliteCoordinator(path, CLUSTER)

        watching = threading.Thread(target=follow, args=(follower, seen))
        watching.start()
        eventually(lambda: seen and seen[-1].epoch == 7, "the record as it was")
        backup.rename(path)
        assert coordinator.read().epoch == 1, "an epoch may be given out twice: the nodes' promises are for that"
        eventually(lambda: seen[-1].epoch == 1, "the restored record")
        assert coordinator.cas_epoch(1, 2, 3, b"").swapped
        eventually(lambda: seen[-1].epoch == 2, "a change of the restored record")
        follower.close()
        watching.join(10)


def test_a_file_that_is_removed_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "coordinator"
    with SqliteCoordinator(path, CLUSTER) as coordinator:
        coordinator.cas_epoch(0, 5, 1, b"")
        path.unlink()
        assert coordinator.read().epoch == 0
        assert coordinator.cas_epoch(0, 6, 1, b"").swapped
