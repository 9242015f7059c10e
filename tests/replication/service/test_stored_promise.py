"""A node finds its promise as it left it, and none where it has never had one."""

import contextlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.consensus.interface.membership import Membership
from replication.consensus.interface.promise import Incarnation, Promise
from replication.log.ballot import Ballot
from replication.log.directory.log_metadata import LogMetadata
from replication.log.directory.promise_record import PromiseStore, make_promise
from replication.log.disk import Disk
from replication.log.errors import PromiseLost
from replication.log.write_ahead_log import WriteAheadLog
from replication.service.stored_promise import StoredPromises

METADATA = LogMetadata(7, {}, 77, 2)

_words = st.integers(0, 2**64 - 1)
_nodes = st.frozensets(st.integers(1, 9), max_size=5)


@st.composite
def _promises(draw: st.DrawFn, log_id: int) -> Promise:
    voters = draw(st.frozensets(st.integers(1, 9), min_size=1, max_size=5))
    leaving = draw(_nodes)
    return Promise(
        Ballot(draw(_words), draw(st.integers(1, 9))),
        Membership(draw(st.integers(1, 2**63)), voters, draw(_nodes) - voters - leaving, leaving),
        Incarnation(draw(st.integers(0, 99)), log_id),
        tuple((node, Incarnation(draw(st.integers(0, 99)), draw(_words))) for node in sorted(draw(_nodes))),
        draw(st.booleans()),
        draw(_words),
    )


@settings(max_examples=30, deadline=None)
@given(promise=_promises(METADATA.log_id))
def test_a_promise_is_found_as_it_was_stored(tmp_path_factory: pytest.TempPathFactory, promise: Promise) -> None:
    directory = tmp_path_factory.mktemp("log")
    make_promise(directory, METADATA, Disk())
    with contextlib.closing(PromiseStore(directory, METADATA, Disk())) as store:
        promises = StoredPromises(store)
        assert promises.read(METADATA.log_id) is None
        promises.store(promise)
        assert promises.read(METADATA.log_id) == promise
    with contextlib.closing(PromiseStore(directory, METADATA, Disk())) as store:
        assert StoredPromises(store).read(METADATA.log_id) == promise


def test_a_lost_promise_is_an_error(tmp_path: Path) -> None:
    WriteAheadLog.open(tmp_path, 7, segment_bytes=64 << 10, node=2).close()
    (tmp_path / "promise").unlink()
    with WriteAheadLog.open(tmp_path, 7, segment_bytes=64 << 10) as log:
        assert log.promises is not None
        with pytest.raises(PromiseLost):
            StoredPromises(log.promises).read(log.log_id)
