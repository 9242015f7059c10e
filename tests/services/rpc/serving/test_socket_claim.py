"""A Unix socket's path is claimed by one node at a time, in whatever way it is written."""

import socket
from pathlib import Path

import pytest

from services.rpc.serving.socket_claim import SocketClaim, SocketInUse


def test_a_path_is_claimed_once_until_it_is_released(tmp_path: Path) -> None:
    claim = SocketClaim(str(tmp_path / "s"))
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(SocketInUse):
        SocketClaim(str(tmp_path / "link" / "s"))
    claim.release()
    claim.release()
    SocketClaim(str(tmp_path / "s")).release()
    assert list(tmp_path.glob("*.lock")) == []


def test_a_server_that_claims_nothing_is_found_by_its_answer(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "s"))
        server.listen()
        with pytest.raises(SocketInUse):
            SocketClaim(str(tmp_path / "s"))
    SocketClaim(str(tmp_path / "s")).release()  # what a dead server left is taken over


def test_a_claim_notices_that_another_socket_stands_at_its_path(tmp_path: Path) -> None:
    claim = SocketClaim(str(tmp_path / "s"))
    (tmp_path / "s").touch()
    claim.note_bound()
    lost_at_first = claim.lost
    (tmp_path / "s").unlink()
    assert [lost_at_first, claim.lost] == [False, True]
    claim.release()
