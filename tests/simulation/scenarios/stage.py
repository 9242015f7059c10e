"""A stage: a simulated cluster that a test moves to the state in which something once went wrong in public."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from replication.consensus.interface.events import HandOverRequested
from simulation.cluster.client import Client
from simulation.cluster.cluster import Cluster
from simulation.cluster.machine import Machine
from simulation.cluster.node import Node
from simulation.cluster.wire import ReadRequest, Submission
from simulation.world.crash import Crash
from simulation.world.timeline import MS

ASKER = 999


class Asker(Client):
    """Asks when told to, and keeps all answers."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(ASKER, [1], cluster.timeline, cluster.network, cluster.receipts, 1)
        self.answers: list[object] = []

    def receive(self, sender: int, answer: object) -> None:
        self.answers.append(answer)

    def stop(self) -> None:
        pass


class Stage:
    def __init__(self, directory: Path, nodes: int = 3, seed: int = 1, learners: int = 0) -> None:
        self.cluster = Cluster(directory, seed, nodes, clients=0, learners=learners)
        self.cluster.start()
        self.asker = self.cluster.clients[ASKER] = Asker(self.cluster)
        self._sequence = 0

    def machine(self, number: int) -> Machine:
        return self.cluster.machines[number]

    def node(self, number: int) -> Node:
        node = self.machine(number).node
        assert node is not None, f"node {number} is down"
        return node

    def others(self, number: int) -> list[int]:
        return [other for other in self.cluster.machines if other != number]

    @property
    def answers(self) -> list[object]:
        return self.asker.answers

    def until(self, is_done: Callable[[], bool], within_ms: int = 3000) -> None:
        assert self.cluster.run_until(is_done, within_ms * MS), "it never came to that"

    def pass_ms(self, duration_ms: int) -> None:
        self.cluster.run_until(lambda: False, duration_ms * MS)

    def leader(self, among: list[int] | None = None) -> int:
        """Wait until one of these nodes leads and takes transactions in."""
        numbers = among or list(self.cluster.machines)

        def leading() -> list[int]:
            nodes = [(number, self.machine(number).node) for number in numbers]
            return [number for number, node in nodes if node is not None and node.sequencer.open]

        self.until(lambda: bool(leading()))
        return leading()[0]

    def candidate(self, among: list[int]) -> int:
        """Wait until one of these nodes begins to lead; its epoch's block is on its way to its own disk alone."""

        def leading() -> list[int]:
            nodes = [(number, self.machine(number).node) for number in among]
            return [number for number, node in nodes if node is not None and node.front.leading.epoch]

        self.until(lambda: bool(leading()))
        return leading()[0]

    def submit(self, number: int, count: int = 1) -> None:
        for _ in range(count):
            self._sequence += 1
            node = self.node(number)
            submission = Submission(ASKER, self._sequence)
            node.process.do(lambda node=node, submission=submission: node.receive(ASKER, submission))  # type: ignore[misc]

    def read(self, number: int, read: int) -> None:
        node = self.node(number)
        node.process.do(lambda: node.receive(ASKER, ReadRequest(read)))

    def committed(self, count: int = 1) -> None:
        """Wait until so many more blocks are committed."""
        end = self.cluster.ledger.commit_index + count
        self.until(lambda: self.cluster.ledger.commit_index >= end)

    def durable(self, number: int, index: int) -> None:
        """Wait until a node's log is durable up to a block."""
        self.until(lambda: self.node(number).log.durable_index >= index)

    @property
    def commit_index(self) -> int:
        return self.cluster.ledger.commit_index

    def depose(self, first: int) -> tuple[int, int]:
        """Cut a leader off while it goes on alone, let another lead; return that and the last index of the first."""
        self.cut(first, self.others(first))
        last = self.node(first).log.last_index
        self.submit(first, 5)
        self.durable(first, last + 5)
        second = self.leader(self.others(first))
        return second, last + 5

    def cut(self, sources: int | list[int], targets: int | list[int], *, both: bool = True) -> None:
        self._change_cuts(sources, targets, 1, both)

    def join(self, sources: int | list[int], targets: int | list[int], *, both: bool = True) -> None:
        self._change_cuts(sources, targets, -1, both)

    def _change_cuts(self, sources: int | list[int], targets: int | list[int], change: int, both: bool) -> None:
        for source in [sources] if isinstance(sources, int) else sources:
            for target in [targets] if isinstance(targets, int) else targets:
                for ends in [(source, target), (target, source)] if both else [(source, target)]:
                    self.cluster.network.link(*ends).cuts += change

    def crash(self, number: int, how: Crash = Crash.LOST) -> None:
        self.machine(number).crash(how)

    def start(self, number: int) -> None:
        self.machine(number).start()

    def settle(self) -> None:
        """Heal everything, and see that all is equal in the end."""
        self.cluster.settle()
        self.cluster.check_outcome()


@contextmanager
def staged(directory: Path, nodes: int = 3, seed: int = 1, learners: int = 0) -> Iterator[Stage]:
    stage = Stage(directory, nodes, seed, learners)
    try:
        yield stage
    finally:
        stage.cluster.close()


def hand_over(stage: Stage, first: int, to: int) -> None:
    node = stage.node(first)
    node.process.do(lambda: node.tell(HandOverRequested(to, node.now_ns())))
