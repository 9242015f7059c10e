"""Reflection is not imported before somebody asks for it, and answers other methods' callers nothing."""

import subprocess
import sys
from typing import NamedTuple

import grpc

from services.rpc.serving.lazy_reflection import OLDER_SERVICE, SERVICE, LazyReflection


class Details(NamedTuple):
    method: str
    invocation_metadata: tuple[()] = ()


def test_other_methods_are_not_its_own() -> None:
    lazy = LazyReflection(["penstock.v1.NodeService"])
    assert lazy.service(Details("/penstock.v1.NodeService/GetStatus")) is None  # type: ignore[arg-type]


def test_its_handler_is_made_once_for_both_of_its_names() -> None:
    lazy = LazyReflection(["penstock.v1.NodeService"])
    handler = lazy.service(Details(f"/{SERVICE}/ServerReflectionInfo"))  # type: ignore[arg-type]
    assert isinstance(handler, grpc.RpcMethodHandler)
    assert lazy.service(Details(f"/{OLDER_SERVICE}/ServerReflectionInfo")) is handler  # type: ignore[arg-type]


def test_a_server_does_not_import_it() -> None:
    program = "import sys; import services.rpc.serving.server; assert 'grpc_reflection.v1alpha' not in sys.modules"
    subprocess.run([sys.executable, "-c", program], check=True)
