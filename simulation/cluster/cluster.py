"""Cluster: machines, network, coordinator and clients of one schedule, on one timeline."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from replication.consensus.interface.events import EpochDecided, MembershipOffered
from replication.consensus.interface.membership import Membership
from replication.log.ballot import NO_BALLOT
from replication.log.block import Block
from simulation.cluster.applier import Applier
from simulation.cluster.client import Client
from simulation.cluster.machine import Machine
from simulation.cluster.surroundings import Surroundings, draw_config
from simulation.fault_kind import FaultKind
from simulation.promises.ledger import Ledger
from simulation.promises.receipts import Receipts
from simulation.promises.violation import Rule, Violation
from simulation.world.coordinator import Content, VirtualCoordinator
from simulation.world.crash import Crash
from simulation.world.disk import VirtualDisk
from simulation.world.network import Network
from simulation.world.timeline import MS, SECOND, Timeline

_FIRST_CLIENT: Final = 1000
_CLIENTS: Final = 3
_RESTART_NS: Final = 80 * MS
_PROGRESS_NS: Final = 20 * SECOND
"""Within this time after the last fault everything must have been answered, and all nodes be equal."""
_POWER_CUTS: Final = (Crash.LOST, Crash.TORN, Crash.REORDERED, Crash.FLIPPED)


class Cluster:
    """A cluster that is driven step by step."""

    def __init__(
        self,
        directory: Path,
        seed: int,
        nodes: int,
        *,
        machine_type: type[Machine] = Machine,
        clients: int = _CLIENTS,
        learners: int = 0,
    ) -> None:
        """Make ``nodes`` empty machines below ``directory``; all that is random comes from ``seed``.

        The last ``learners`` of the nodes do not vote.
        """
        rng = Random(seed)
        self.timeline: Final = Timeline()
        self.occurred: Final[Counter[FaultKind]] = Counter()
        self.network: Final = Network(self.timeline, Random(rng.random()), self._deliver, self.occurred)
        numbers = range(1, nodes + 1)
        voters = frozenset(numbers[: nodes - learners])
        membership = Membership(1, voters, learners=frozenset(numbers) - voters)
        self.coordinator: Final = VirtualCoordinator(
            self.timeline, Random(rng.random()), membership, self._tell_content
        )
        disks: dict[int, VirtualDisk] = {}
        self.ledger: Final = Ledger(disks, lambda number: self.machines[number].stored, membership.voters)
        self.receipts: Final = Receipts()
        self.rng: Final = Random(rng.random())
        world = Surroundings(
            self.timeline,
            Random(rng.random()),
            self.network,
            self.coordinator,
            self.ledger,
            self.occurred,
            self._power_cut,
            lambda number: self.restart_later(self.machines[number]),
            draw_config(rng),
        )
        self.machines: Final = {
            number: machine_type(number, directory / str(number), membership, world, rng.getrandbits(64))
            for number in numbers
        }
        disks.update((number, machine.disk) for number, machine in self.machines.items())
        self.clients: Final[dict[int, Client]] = {
            number: Client(number, list(numbers), self.timeline, self.network, self.receipts, rng.getrandbits(64))
            for number in range(_FIRST_CLIENT, _FIRST_CLIENT + clients)
        }

    def start(self) -> None:
        """Start nodes and clients."""
        for machine in self.machines.values():
            machine.start()
        for client in self.clients.values():
            client.start()

    def leader(self) -> Machine | None:
        """Return who leads the highest ballot."""
        ballots = {number: machine.node.front.leading for number, machine in self.machines.items() if machine.node}
        number = max(ballots, key=lambda number: ballots[number], default=0)
        return self.machines[number] if ballots.get(number, NO_BALLOT) != NO_BALLOT else None

    def run_until(self, is_done: Callable[[], bool], within_ns: int) -> bool:
        """Let events happen until ``is_done`` or the time is over; return whether it is done."""
        end_ns = self.timeline.now_ns + within_ns
        while not is_done():
            if self.timeline.now_ns > end_ns or not self.timeline.step():
                return False
        return True

    def restart_later(self, machine: Machine, after_ns: int = _RESTART_NS) -> None:
        """Start a machine that went down, after a while; an operator replaces a disk whose log cannot be opened."""

        def start() -> None:
            if machine.damaged:
                machine.wipe()
            machine.start()

        self.timeline.after(after_ns, start)

    def heal(self) -> None:
        """End all faults."""
        self.network.heal()
        self.coordinator.outages = 0
        self.coordinator.recover()
        for machine in self.machines.values():
            machine.device.heal()
            machine.disk.full = False
            machine.disk.steps_left = None
            machine.pauses = min(machine.pauses, 1)
            machine.resume()
            if machine.node is None:
                self.restart_later(machine)

    def settle(self) -> None:
        """End all faults and all work, and check that everything is answered and equal before the bound."""
        self.heal()
        for client in self.clients.values():
            client.stop()
        if not self.run_until(self._is_settled, _PROGRESS_NS):
            raise Violation(Rule.PROGRESS, self._what_is_missing())

    def check_outcome(self) -> None:
        """Compare states with each other and with a replay, and the clients' receipts with the log."""
        digests = {}
        for number, machine in self.machines.items():
            assert machine.node is not None
            digests[number] = machine.node.applier.state_digest()
        if len(set(digests.values())) > 1:
            raise Violation(Rule.DIGESTS_EQUAL, f"states at block {self.ledger.commit_index} differ: {digests}")
        machine = self.machines[self.rng.choice(list(self.machines))]
        assert machine.node is not None
        replayed = Applier(self.rng)

        def apply(block: Block) -> None:
            replayed.apply(block)

        machine.node.log.replay(apply, to_index=self.ledger.commit_index)
        if replayed.state_digest() != digests[machine.number]:
            raise Violation(Rule.STATE_IS_REPLAY, f"the state of node {machine.number} is not that of its log")
        counters = {client: replayed.counter(client) for client in self.clients}
        replayed.close()
        self.receipts.check(machine.node.log.read(1), counters)

    def close(self) -> None:
        """Let go of all files."""
        for machine in self.machines.values():
            machine.crash(Crash.PROCESS)

    def _deliver(self, source: int, target: int, message: object) -> None:
        client = self.clients.get(target)
        if client is not None:
            client.receive(source, message)
            return
        node = self.machines[target].node
        if node is not None:
            node.process.do(lambda: node.receive(source, message))

    def _tell_content(self, content: Content) -> None:
        for machine in self.machines.values():
            node = machine.node
            if node is None:
                continue
            now_ns = node.now_ns()
            events = (EpochDecided(content.epoch, content.node, now_ns), MembershipOffered(content.membership, now_ns))
            for event in events:
                node.process.do(lambda node=node, event=event: node.tell(event))  # type: ignore[misc]

    def _power_cut(self, number: int) -> None:
        machine = self.machines[number]
        self.occurred[FaultKind.POWER_CUT_WITHIN] += 1
        machine.crash(self.rng.choice(_POWER_CUTS))
        self.restart_later(machine)

    def _is_settled(self) -> bool:
        if not all(client.idle for client in self.clients.values()):
            return False
        end = self.ledger.commit_index
        return all(
            machine.node is not None
            and machine.node.applier.index == end
            and len(machine.node.hashes) == end + 1
            and machine.node.log.durable_index == end
            and machine.stored is not None
            and machine.stored.voting
            for machine in self.machines.values()
        )

    def _what_is_missing(self) -> str:
        waiting = [number for number, client in self.clients.items() if not client.idle]
        nodes = {
            number: "down"
            if machine.node is None
            else f"applied {machine.node.applier.index} of {len(machine.node.hashes) - 1}"
            for number, machine in self.machines.items()
        }
        return (
            f"{_PROGRESS_NS // SECOND} s after the last fault clients {waiting} have no answer, and nodes are at "
            f"{nodes} where {self.ledger.commit_index} is committed"
        )
