"""The parts of a node are made as its settings say."""

from pathlib import Path

import pytest

from penstock.host.clock import SYSTEM_CLOCK
from penstock.host.executor import THREADS
from replication.log.errors import LogInUse, LogTooOld
from replication.log.write_ahead_log import WriteAheadLog
from services.node_parts import create_queue, create_state, open_log
from services.settings.memory_settings import QueueSettings
from services.settings.model import NodeSettings


def settings_in(directory: Path, **groups: object) -> NodeSettings:
    return NodeSettings.model_validate({"node": {"data_dir": directory, "cluster_id": 7}, **groups})


def test_the_log_lies_in_the_data_directory_and_is_the_cluster_s(tmp_path: Path) -> None:
    settings = settings_in(tmp_path, log={"sync_mode": "interval"})
    with open_log(settings, SYSTEM_CLOCK, THREADS) as log:
        assert log.directory == tmp_path / "log"
        assert log.cluster_id == 7
        assert log.sync_mode == "interval"
        with pytest.raises(LogInUse):
            open_log(settings, SYSTEM_CLOCK, THREADS)


SMALL = {"bytes_max": 64 << 20}


@pytest.mark.parametrize(
    ("name", "value"), [("session_capacity", 3), ("session_horizon_s", 3), ("session_bytes_max", 4 << 20)]
)
def test_a_state_begins_with_the_bounds_on_sessions_that_its_log_began_with(
    tmp_path: Path, name: str, value: int
) -> None:
    settings = settings_in(tmp_path, state=SMALL)
    open_log(settings, SYSTEM_CLOCK, THREADS).close()
    changed = settings_in(tmp_path, state={**SMALL, name: value})
    open_log(changed, SYSTEM_CLOCK, THREADS).close()
    assert changed.state.session_bounds() != settings.state.session_bounds()
    with create_state(changed) as state:
        assert state.session_bounds == settings.state.session_bounds()


def test_a_log_of_a_version_that_gave_other_answers_is_refused_with_the_way_out(tmp_path: Path) -> None:
    before = {"state.session_capacity": 65_536, "state.session_horizon_s": 3600}
    WriteAheadLog.open(tmp_path / "log", 7, parameters=before).close()
    with pytest.raises(LogTooOld, match=r"does not say session\.capacity.*start with a new data directory"):
        create_state(settings_in(tmp_path, state=SMALL))


def test_the_state_and_the_ring_are_as_large_as_the_settings_say(tmp_path: Path) -> None:
    with create_state(settings_in(tmp_path, state=SMALL)) as state:
        assert state.bytes_max == 64 << 20
        assert state.session_bounds.bytes_max <= 8 << 20
    with create_queue(QueueSettings.model_validate({"slots": 512})) as queue:
        assert queue.get_queue_metrics().frames_dequeued == 0
