"""The log as the node writes it is the log as the format's description says."""

from pathlib import Path

import numpy as np

from loadtest.verify.log_metadata import first_bounds
from loadtest.verify.log_parser import read_blocks
from loadtest.verify.session_ledger import SessionBounds
from penstock.host.clock import SYSTEM_CLOCK
from penstock.host.executor import THREADS
from replication.log.ballot import Ballot
from replication.log.block import HEADER_BYTES, Block, stored_bytes
from replication.log.write_ahead_log import WriteAheadLog
from services.node_parts import open_log
from services.settings.model import NodeSettings
from tests.loadtest.verify.transactions import body, record


def sealed(log: WriteAheadLog, index: int, position: int, records: bytes, payloads: bytes, previous: bytes) -> Block:
    raw = np.zeros(stored_bytes(len(records) // 64, len(payloads)) + 4096, np.uint8)
    buffer = raw[-raw.ctypes.data % 4096 :]
    buffer[HEADER_BYTES : HEADER_BYTES + len(records) + len(payloads)] = np.frombuffer(records + payloads, np.uint8)
    return Block.seal(
        buffer,
        cluster_id=9,
        ballot=Ballot(1, 0),
        index=index,
        first_position=position,
        count=len(records) // 64,
        payload_bytes=len(payloads),
        time_ns=index,
        previous_hash=previous,
        durable_index=log.durable_index,
    )


def test_the_node_writes_what_this_reader_expects_over_several_segments(tmp_path: Path) -> None:
    written: list[tuple[bytes, bytes]] = []
    with_payloads = [record(1, i + 1, value=bytes(1000)) for i in range(1000)]
    log = WriteAheadLog.open(tmp_path, 9, segment_bytes=2 << 20, sync_mode="block")
    previous, position = bytes(16), 0
    for index in range(1, 12):
        written.append(body(*with_payloads[: 100 * index - 50]))
        block = sealed(log, index, position, *written[-1], previous)
        log.reserve(block.stored_bytes)
        log.append([block])
        previous, position = block.hash, block.next_position
    log.sync()
    read = [(b.first_position, b.count, bytes(b.records), bytes(b.payloads)) for b in read_blocks(tmp_path)]
    log.close()
    assert len(list(tmp_path.glob("*.segment"))) > 1
    assert [(records, payloads) for _, _, records, payloads in read] == written
    assert [first for first, *_ in read[1:]] == list(np.cumsum([count for _, count, *_ in read])[:-1])


def test_the_bounds_on_sessions_are_read_as_the_node_keeps_them(tmp_path: Path) -> None:
    state = {"session_capacity": 7, "session_horizon_s": 5, "session_bytes_max": 1 << 20}
    settings = NodeSettings.model_validate({"node": {"data_dir": tmp_path}, "state": state})
    open_log(settings, SYSTEM_CLOCK, THREADS).close()
    kept = settings.state.session_bounds()
    assert first_bounds(tmp_path / "log") == SessionBounds(kept.capacity, kept.horizon_ns, kept.page_capacity)
