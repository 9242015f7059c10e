"""Three nodes in one process: real logs, real coordinator, messages over gRPC."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from typing import Any, Final, TypeVar

import numpy as np

from penstock.contract.record import RECORD_BYTES
from pooling.buffers import aligned_buffer
from replication.consensus.interface.config import ConsensusConfig
from replication.consensus.interface.effects import Alarm
from replication.consensus.interface.header import Tip
from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation, Promise
from replication.coordinator.sqlite_coordinator import SqliteCoordinator
from replication.log.ballot import NO_BALLOT, Ballot
from replication.log.block import HEADER_BYTES, NO_HASH, Block, stored_bytes
from replication.log.write_ahead_log import WriteAheadLog
from replication.service import ParallelLogReplicationService
from replication.service.block_store import header_of
from replication.service.stored_promise import StoredPromises
from replication.transport.grpc_transport import GrpcTransport
from tests.eventually import eventually

Result = TypeVar("Result")

CLUSTER_ID: Final = 0xC1
NODES: Final = (1, 2, 3)
CONFIG: Final = ConsensusConfig(
    suspicion_ns=400_000_000, suspicion_jitter_ns=200_000_000, heartbeat_ns=40_000_000, retry_ns=60_000_000
)


class Machine:
    """Seals blocks when asked to while its node leads, and remembers what was committed."""

    def __init__(self) -> None:
        self.committed_hashes: list[bytes] = []
        self.leader = NO_BALLOT
        self.alarms: list[Alarm] = []
        self.failure: Exception | None = None
        self._sealing = threading.Lock()
        self._ballot: Ballot | None = None
        self._tip: Tip | None = None

    @property
    def ballot(self) -> Ballot | None:
        """The ballot under which blocks are sealed here; None while none are."""
        return self._ballot

    @property
    def is_open(self) -> bool:
        return self._ballot is not None

    def seal(self, propose: Callable[[list[Block]], None], count: int) -> bytes | None:
        """Seal and propose a block; returns its hash, None where the intake is closed."""
        with self._sealing:
            if self._ballot is None:
                return None
            assert self._tip is not None
            buffer = aligned_buffer(stored_bytes(count, 0))
            buffer[HEADER_BYTES : HEADER_BYTES + count * RECORD_BYTES] = np.random.default_rng().integers(
                0, 256, count * RECORD_BYTES, np.uint8
            )
            block = Block.seal(
                buffer,
                cluster_id=CLUSTER_ID,
                ballot=self._ballot,
                index=self._tip.index + 1,
                first_position=self._tip.next_position,
                count=count,
                payload_bytes=0,
                time_ns=self._tip.time_ns + 1,
                previous_hash=self._tip.hash or NO_HASH,
                durable_index=0,
                generation=1,
            )
            self._tip = header_of(block).tip
            propose([block])
            return block.hash

    def open_intake(self, ballot: Ballot, tip: Tip) -> None:
        with self._sealing:
            self._ballot, self._tip = ballot, tip

    def close_intake(self, to: int) -> None:
        with self._sealing:
            self._ballot = None

    def stepped_down(self, commit_index: int) -> None:
        with self._sealing:
            self._ballot = None

    def committed(self, block: Block) -> None:
        assert block.index == len(self.committed_hashes) + 1
        self.committed_hashes.append(block.hash)

    def leader_changed(self, leader: Ballot) -> None:
        self.leader = leader

    def alarm(self, alarm: Alarm) -> None:
        self.alarms.append(alarm)

    def failed(self, error: Exception) -> None:
        self.failure = error


class Member:
    """One run of a node."""

    def __init__(self, cluster: "Cluster", node: int) -> None:
        self.node, self.machine = node, Machine()
        self._cluster = cluster
        self.log = WriteAheadLog.open(cluster.directory / f"log-{node}", CLUSTER_ID, segment_bytes=1 << 20, node=node)
        assert self.log.promises is not None
        promises = StoredPromises(self.log.promises)
        promise = promises.read(self.log.log_id)
        if promise is None:
            promise = Promise(NO_BALLOT, Membership(1, frozenset(NODES)), Incarnation(0, self.log.log_id))
            promises.store(promise)
        self.transport = cluster.call(self._make_transport)
        self.service = ParallelLogReplicationService(
            node,
            self.log,
            promise,
            promises,
            self.transport,
            SqliteCoordinator(cluster.directory / "coordinator", CLUSTER_ID),
            self.machine,
            block_time=lambda last_ns: last_ns + 1,
            config=CONFIG,
            rng=Random(node),
        )
        self.service.start()

    def seal(self, count: int = 10) -> bytes | None:
        return self.machine.seal(self.service.replicate_log_entry_parallel, count)

    def stop(self) -> None:
        self._cluster.call(self.transport.stop)
        self.service.stop()
        self.log.close()

    def cut_off(self) -> None:
        """Let it hear nothing and say nothing any more, while it runs on."""
        self._cluster.call(self.transport.stop)

    async def _make_transport(self) -> GrpcTransport:
        addresses = {node: f"unix:{self._cluster.directory}/{node}.sock" for node in NODES}
        transport = GrpcTransport(
            self.node,
            CLUSTER_ID,
            addresses.pop(self.node),
            lambda sender, message, blocks: self.service.received(sender, message, blocks),
            Random(self.node),
        )
        await transport.start()
        transport.connect(addresses)
        return transport


class Cluster:
    """Three members, and the event loop of their transports."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.members: dict[int, Member] = {}

    def start(self, *nodes: int) -> None:
        for node in nodes or NODES:
            self.members[node] = Member(self, node)

    def stop(self, node: int) -> None:
        self.members.pop(node).stop()

    def close(self) -> None:
        for node in list(self.members):
            self.stop(node)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def call(self, function: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
        """Run a coroutine function in the loop of the transports."""
        return asyncio.run_coroutine_threadsafe(function(), self._loop).result(30)

    def leader(self, *but_not: int) -> Member:
        """Wait for a leader that takes transactions in."""
        found: list[Member] = []

        def look() -> bool:
            found[:] = [
                member for member in self.members.values() if member.machine.is_open and member.node not in but_not
            ]
            return bool(found)

        eventually(look, "a leader")
        return found[-1]

    def wait_until_equal(self, at_least: int) -> list[bytes]:
        """Wait until all members have committed the same, and so many blocks; returns their hashes."""

        def equal() -> bool:
            committed = [member.machine.committed_hashes for member in self.members.values()]
            return min(map(len, committed)) >= at_least and all(hashes == committed[0] for hashes in committed)

        eventually(equal, "the same committed blocks on all members")
        return list(next(iter(self.members.values())).machine.committed_hashes)
