"""HTTP/2 connection written by hand, for what no gRPC client would send: halves of messages, and garbage.

RFC 9113 (frames) and RFC 7541 (header fields as literals without indexing).
"""

import socket
import struct
from collections.abc import Mapping
from typing import Final

_PREFACE: Final = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, SETTINGS = 0, 1, 4
_END_HEADERS: Final = 4


def connect(target: str, timeout_s: float = 2.0) -> socket.socket:
    """A plain connection to ``unix:/path`` or ``host:port``.

    Raises:
        OSError: nobody listens there, or takes it within the time.
    """
    if target.startswith("unix:"):
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(timeout_s)
        connection.connect(target.removeprefix("unix:"))
        return connection
    host, _, port = target.rpartition(":")
    return socket.create_connection((host, int(port)), timeout_s)


def frame(kind: int, flags: int, stream: int, content: bytes) -> bytes:
    """One frame of HTTP/2."""
    return struct.pack(">I", len(content))[1:] + struct.pack(">BBI", kind, flags, stream) + content


def opening() -> bytes:
    """What a client says first."""
    return _PREFACE + frame(SETTINGS, 0, 0, b"")


def call_headers(stream: int, method: str, metadata: Mapping[str, str] = {}) -> bytes:
    """The beginning of a call of a gRPC method, as in ``/penstock.v1.StateService/Read``.

    A byte that is no UTF-8 is written as Python has it in names of files (``surrogateescape``).
    """
    fields = {
        ":method": "POST",
        ":scheme": "http",
        ":path": method,
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
        **metadata,
    }
    block = b"".join(b"\0" + _string(name) + _string(value) for name, value in fields.items())
    return frame(HEADERS, _END_HEADERS, stream, block)


def message_head(length: int) -> bytes:
    """What gRPC puts before a message of so many bytes."""
    return struct.pack(">BI", 0, length)


def _string(text: str) -> bytes:
    assert len(text) < 127, "longer ones have another form"
    return bytes((len(text),)) + text.encode(errors="surrogateescape")
