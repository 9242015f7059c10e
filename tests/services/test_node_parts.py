"""The parts of a node are made as its settings say."""

from pathlib import Path

import pytest

from penstock.host.clock import SYSTEM_CLOCK
from penstock.host.executor import THREADS
from replication.log.errors import LogInUse, LogParametersDiffer
from services.node_parts import create_queue, create_state, open_log
from services.settings.model import NodeSettings, QueueSettings, StateSettings


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


@pytest.mark.parametrize("name", ["session_capacity", "session_horizon_s"])
def test_a_log_keeps_the_settings_that_its_results_depend_on(tmp_path: Path, name: str) -> None:
    open_log(settings_in(tmp_path), SYSTEM_CLOCK, THREADS).close()
    with pytest.raises(LogParametersDiffer, match=name):
        open_log(settings_in(tmp_path, state={name: 3}), SYSTEM_CLOCK, THREADS)


def test_the_state_and_the_ring_are_as_large_as_the_settings_say() -> None:
    with create_state(StateSettings.model_validate({"bytes_max": 64 << 20})) as state:
        assert state.bytes_max == 64 << 20
    with create_queue(QueueSettings.model_validate({"slots": 512})) as queue:
        assert queue.get_queue_metrics().frames_dequeued == 0
