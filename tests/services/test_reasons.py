"""Reasons are named once, in the enum: code, documentation and protos agree with it."""

import ast
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from penstock.contract.reasons import Reason
from services.rpc import reasons_reference

ROOT = Path(__file__).parents[2]
SERVICES = ROOT / "services"

SOURCES = {
    "TxQueueService": (
        "rpc/txqueue_service.py rpc/submit_stream.py rpc/transaction_codec.py rpc/handlers.py rpc/limits/*.py "
        "rpc/serving/call_server.py admission/*.py pipeline/*.py node.py"
    ),
    "StateService": (
        "rpc/state_service.py rpc/key_codec.py rpc/watching/*.py rpc/handlers.py rpc/limits/*.py "
        "rpc/serving/call_server.py admission/namespaces.py node.py"
    ),
    "PoolService": (
        "rpc/pool_service.py rpc/buffer_leases.py rpc/handlers.py rpc/limits/memory_guard.py rpc/serving/call_server.py"
    ),
    "NodeService": (
        "rpc/node_service.py rpc/handlers.py rpc/limits/memory_guard.py rpc/serving/call_server.py "
        "rpc/serving/status_server.py"
    ),
}
"""What answers the calls of each service."""


def used_in(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_bytes())):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "Reason":
            yield node.attr


@pytest.mark.parametrize("service", SOURCES)
def test_each_service_gives_the_reasons_that_name_it_and_no_other(service: str) -> None:
    paths = [path for pattern in SOURCES[service].split() for path in SERVICES.glob(pattern)]
    used = {name for path in paths for name in used_in(path)}
    assert used == {reason.name for reason in Reason if service in reason.services}


def test_every_reason_is_given_somewhere_and_every_use_is_among_the_sources() -> None:
    used = {name for path in SERVICES.rglob("*.py") for name in used_in(path)}
    assert used == set(Reason.__members__)


def test_no_code_names_a_reason_by_a_string() -> None:
    for package in ("services", "penstock/client"):
        for path in (ROOT / package).rglob("*.py"):
            strings = {node.value for node in ast.walk(ast.parse(path.read_bytes())) if isinstance(node, ast.Constant)}
            assert not strings & Reason.__members__.keys(), path


@pytest.mark.parametrize("reason", Reason)
def test_a_reason_has_a_status_of_grpc_and_says_what_is_wrong_and_what_to_do(reason: Reason) -> None:
    assert grpc.StatusCode[reason.status] is not grpc.StatusCode.OK
    for text in (reason.meaning, reason.action):
        assert text
        assert not text.endswith((".", "...", ":"))
        assert text[0] == text[0].lower() or text.startswith("TRANSFER")
    assert reason.services
    assert not (reason.retryable and not reason.outcome_known), "what may have taken effect is asked for, not repeated"


@pytest.mark.parametrize("path", [reasons_reference.OPERATIONS, *reasons_reference.PROTOS.values()], ids=str)
def test_the_lists_of_reasons_are_those_that_make_docs_generates(path: Path) -> None:
    assert (ROOT / path).read_text() == reasons_reference.generated(ROOT)[path]
