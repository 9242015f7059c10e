"""The virtual disk under the real log."""

from pathlib import Path
from random import Random

import pytest

from replication.log.block import Block
from replication.log.errors import LogCorrupted
from simulation.world.clock import NodeClock
from simulation.world.crash import Crash
from simulation.world.disk import PowerCut, VirtualDisk
from simulation.world.executor import TurnExecutor
from simulation.world.simulated_log import SimulatedLog
from simulation.world.timeline import Timeline
from tests.replication.log.chain import CLUSTER, seal_after


class Machine:
    """A disk, and the log that a process has open on it."""

    def __init__(self, directory: Path, rng: Random) -> None:
        self.disk = VirtualDisk(directory)
        self.rng = rng
        self.start()

    def start(self) -> None:
        self.executor = TurnExecutor()
        self.log = SimulatedLog.on(self.disk, CLUSTER, 1, NodeClock(Timeline()), self.executor, self.rng)

    def append(self, count: int) -> list[Block]:
        blocks: list[Block] = []
        for _ in range(count):
            blocks.append(seal_after(self.log, 1, previous=blocks[-1] if blocks else None))
        self.log.append(blocks)
        return blocks

    def crash(self, how: Crash) -> None:
        self.executor.dead = True
        self.log.die()
        self.disk.crash(how, self.rng)


@pytest.mark.parametrize("how", list(Crash))
def test_what_was_synced_survives_every_crash_and_holds_tells_it(tmp_path: Path, how: Crash) -> None:
    for seed in range(12):
        rng = Random(seed)
        machine = Machine(tmp_path / str(seed), rng)
        synced = machine.append(rng.randrange(1, 40))
        machine.log.sync()
        unsynced = machine.append(rng.randrange(1, 5))
        assert all(machine.disk.holds(block.index, block.hash) for block in synced)
        assert not machine.disk.holds(unsynced[-1].index, unsynced[-1].hash)
        machine.crash(how)
        machine.start()
        found = [block.hash for block in machine.log.read(1)]
        assert found[: len(synced)] == [block.hash for block in synced]
        # Opening makes durable what it found, and only that.
        for block in unsynced:
            assert machine.disk.holds(block.index, block.hash) == (block.hash in found)
        machine.log.close()


def test_a_power_cut_takes_back_what_was_not_synced_and_a_killed_process_takes_nothing(tmp_path: Path) -> None:
    left = {}
    for how in (Crash.LOST, Crash.PROCESS):
        machine = Machine(tmp_path / how.value, Random(1))
        machine.append(5)
        machine.log.sync()
        machine.append(4)
        machine.crash(how)
        machine.start()
        left[how] = machine.log.last_index
    assert left == {Crash.LOST: 5, Crash.PROCESS: 9}


@pytest.mark.parametrize("how", [Crash.TORN, Crash.REORDERED, Crash.FLIPPED])
def test_a_power_cut_leaves_a_part_of_what_was_not_synced(tmp_path: Path, how: Crash) -> None:
    left = set()
    for seed in range(40):
        machine = Machine(tmp_path / str(seed), Random(seed))
        machine.append(2)
        machine.log.sync()
        machine.append(6)
        machine.crash(how)
        machine.start()
        left.add(machine.log.last_index)
    assert min(left) == 2
    assert any(2 < index < 8 for index in left)


def test_power_can_be_cut_in_the_middle_of_a_truncation(tmp_path: Path) -> None:
    ends = set()
    for steps in range(30):
        machine = Machine(tmp_path / str(steps), Random(steps))
        machine.append(40)
        machine.log.sync()
        machine.disk.steps_left = steps
        try:
            machine.log.truncate_after(10)
        except PowerCut:
            ends.add("cut off")
        else:
            ends.add("finished")
        machine.crash(Crash.LOST)
        machine.start()
        assert 10 <= machine.log.last_index <= 40
    assert ends == {"cut off", "finished"}


def test_a_flipped_bit_is_a_copy_less_and_is_found(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "node", Random(3))
    blocks = machine.append(3)
    machine.log.sync()
    assert machine.disk.rot(3, Random(4))
    assert not machine.disk.rot(0, Random(4))
    assert sum(machine.disk.holds(block.index, block.hash) for block in blocks) == 2
    with pytest.raises(LogCorrupted):
        machine.log.replay(lambda _block: None)


def test_a_wiped_disk_holds_nothing(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "node", Random(3))
    (block,) = machine.append(1)
    machine.log.sync()
    machine.crash(Crash.PROCESS)
    machine.disk.wipe()
    assert not machine.disk.holds(block.index, block.hash)
    machine.start()
    assert machine.log.last_index == 0
