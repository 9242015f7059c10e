"""Injection: does a fault to a cluster, and ends it after its time.

Whatever may happen to a cluster happens here, with one exception: disks are destroyed one after the other, the next
when the node of the last has recovered. Two at once may take the only copies of a block from a quorum of three, and no
protocol can help that.
"""

from collections.abc import Callable
from typing import Final

from replication.consensus.interface.events import HandOverRequested
from simulation.cluster.cluster import Cluster
from simulation.cluster.machine import Machine
from simulation.fault_kind import FaultKind
from simulation.faults.plan import LEADER, Fault
from simulation.world.crash import Crash
from simulation.world.timeline import MS, SECOND

_CRASHES: Final = {
    FaultKind.KILL: Crash.PROCESS,
    FaultKind.POWER_CUT_LOST: Crash.LOST,
    FaultKind.POWER_CUT_TORN: Crash.TORN,
    FaultKind.POWER_CUT_REORDERED: Crash.REORDERED,
    FaultKind.POWER_CUT_FLIPPED: Crash.FLIPPED,
}


def inject(cluster: Cluster, fault: Fault) -> None:
    """Do a fault, where it can happen now."""
    machine = cluster.leader() if fault.node == LEADER else cluster.machines[fault.node]
    if machine is None:
        machine = cluster.machines[fault.peer]
    if _INJECT[fault.kind](cluster, machine, fault):
        cluster.occurred[fault.kind] += 1


def _end(cluster: Cluster, fault: Fault, action: Callable[[], None]) -> None:
    cluster.timeline.after(fault.duration_ns, action)


def _on_link(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    """Spoil both directions between two nodes. What it does to messages is counted by the network, for each."""
    peer = fault.peer if fault.peer != machine.number else fault.peer % len(cluster.machines) + 1
    share = 0.05 + fault.amount / 2000
    for ends in ((machine.number, peer), (peer, machine.number)):
        link = cluster.network.link(*ends)
        match fault.kind:
            case FaultKind.DELAY:
                link.delay_ns = 1 + fault.amount * (1_000_000 if fault.amount % 3 == 0 else 100_000)
            case FaultKind.DROP:
                link.drop = share
            case FaultKind.DUPLICATE:
                link.duplicate = share
            case _:
                link.overtaking, link.delay_ns = True, 1 + fault.amount * 30_000

    def restore() -> None:
        for ends in ((machine.number, peer), (peer, machine.number)):
            link = cluster.network.link(*ends)
            match fault.kind:
                case FaultKind.DELAY:
                    link.delay_ns = 0
                case FaultKind.DROP:
                    link.drop = 0.0
                case FaultKind.DUPLICATE:
                    link.duplicate = 0.0
                case _:
                    link.overtaking, link.delay_ns = False, 0

    _end(cluster, fault, restore)
    return False


def _partition(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    """Cut a node off from the others; one way: it hears nothing, or nobody hears it."""
    number = machine.number
    others = [other for other in cluster.machines if other != number]
    links = [(other, number) for other in others], [(number, other) for other in others]
    cut = [*links[0], *links[1]] if fault.kind is FaultKind.PARTITION else links[fault.amount % 2]
    for ends in cut:
        cluster.network.link(*ends).cuts += 1

    def mend() -> None:
        for ends in cut:
            link = cluster.network.link(*ends)
            link.cuts = max(0, link.cuts - 1)

    _end(cluster, fault, mend)
    return True


def _pause(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    machine.pause()
    _end(cluster, fault, machine.resume)
    return True


def _crash(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    if machine.node is None:
        return False
    machine.crash(_CRASHES[fault.kind])
    cluster.restart_later(machine, fault.duration_ns)
    return True


def _cut_within(_cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    """Cut the power within the next changes of the disk; counted when it happens."""
    machine.disk.steps_left = fault.amount % 16
    return False


def _may_destroy(cluster: Cluster) -> bool:
    return all(
        machine.stored is not None and machine.stored.voting and not machine.damaged and not machine.rotten_index
        for machine in cluster.machines.values()
    )


def _rot(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    """Flip a bit, which is found when somebody reads it, at the latest at the node's next start.

    Only of a block that the log itself proves to have been durable.
    """
    if machine.node is None or not _may_destroy(cluster):
        return False
    machine.rotten_index = machine.disk.rot(machine.proven_index(), cluster.rng)
    if not machine.rotten_index:
        return False

    def restart() -> None:
        machine.crash(Crash.PROCESS)
        cluster.restart_later(machine)

    _end(cluster, fault, restart)
    return True


def _wipe(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    if not _may_destroy(cluster):
        return False
    machine.crash(Crash.LOST)
    machine.wipe()
    cluster.restart_later(machine, fault.duration_ns)
    return True


def _jump(_cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    machine.clock.offset_ns = (fault.amount - 500) * 60 * SECOND
    return True


def _slow_disk(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    machine.device.slowness_ns = fault.amount * MS // 20

    def end() -> None:
        machine.device.slowness_ns = 0

    _end(cluster, fault, end)
    return True


def _hanging_disk(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    machine.device.hang()
    _end(cluster, fault, machine.device.go_on)
    return True


def _full_disk(cluster: Cluster, machine: Machine, fault: Fault) -> bool:
    machine.disk.full = True

    def end() -> None:
        machine.disk.full = False

    _end(cluster, fault, end)
    return True


def _coordinator_outage(cluster: Cluster, _machine: Machine, fault: Fault) -> bool:
    cluster.coordinator.outages += 1
    _end(cluster, fault, cluster.coordinator.recover)
    return True


def _coordinator_restore(cluster: Cluster, _machine: Machine, _fault: Fault) -> bool:
    return cluster.coordinator.restore()


def _hand_over(cluster: Cluster, _machine: Machine, fault: Fault) -> bool:
    leader = cluster.leader()
    if leader is None or leader.node is None or leader.number == fault.peer:
        return False
    node = leader.node
    node.process.do(lambda: node.tell(HandOverRequested(fault.peer, node.now_ns())))
    return True


_INJECT: Final[dict[FaultKind, Callable[[Cluster, Machine, Fault], bool]]] = {
    FaultKind.DELAY: _on_link,
    FaultKind.DROP: _on_link,
    FaultKind.DUPLICATE: _on_link,
    FaultKind.REORDER: _on_link,
    FaultKind.PARTITION: _partition,
    FaultKind.ONE_WAY_PARTITION: _partition,
    FaultKind.PAUSE: _pause,
    **dict.fromkeys(_CRASHES, _crash),
    FaultKind.POWER_CUT_WITHIN: _cut_within,
    FaultKind.BIT_ROT: _rot,
    FaultKind.WIPE: _wipe,
    FaultKind.CLOCK_JUMP: _jump,
    FaultKind.SLOW_DISK: _slow_disk,
    FaultKind.HANGING_DISK: _hanging_disk,
    FaultKind.FULL_DISK: _full_disk,
    FaultKind.COORDINATOR_OUTAGE: _coordinator_outage,
    FaultKind.COORDINATOR_RESTORE: _coordinator_restore,
    FaultKind.HAND_OVER: _hand_over,
}
