"""A node of this version goes on with the data directory of a version that wrote block format 1."""

import zipfile
from pathlib import Path

import penstock
from loadtest.node.node_process import running_node, status_of
from loadtest.verify.log_parser import read_blocks
from loadtest.verify.verify_log import NodeDigests, verify_log
from replication.log.log_view import LogView

BLOCKS, TRANSACTIONS, EFFECTS_DIGEST = 21, 1221, 3735505813577481378
"""As the version that wrote it told."""


def test_a_node_goes_on_with_the_data_of_format_1_and_both_parsers_read_the_whole_log(tmp_path: Path) -> None:
    with zipfile.ZipFile(Path(__file__).parent / "data_of_format_1.zip") as archive:
        archive.extractall(tmp_path)
    with running_node(tmp_path, "--set", "log.segment_bytes=8MiB", "--set", "node.cluster_id=12648430") as node:
        found = status_of(node.target)
        assert (found.applied_index, found.applied_transactions) == (BLOCKS, TRANSACTIONS)
        assert found.effects_digest == EFFECTS_DIGEST
        with penstock.Client(node.target) as client:
            assert client.transfer(1, 2, 5).ok
            assert client.submit(penstock.Put(b"key", b"value")).ok
        after = status_of(node.target, with_state_digest=True)
        assert after.applied_index > BLOCKS
        node.stop()
    versions = [block.version for block in LogView.of(tmp_path / "log").blocks()]
    assert versions == [1] * BLOCKS + [2] * (after.applied_index - BLOCKS)
    assert sum(block.count for block in read_blocks(tmp_path / "log")) == after.applied_transactions
    digests = NodeDigests(after.applied_index, after.effects_digest, after.state_digest, after.applied_transactions)
    verification = verify_log(tmp_path / "log", node=digests)
    assert verification.verified, verification.problems
