"""Half sender: one HTTP/2 connection with calls that send nearly all of a message, as fast as the node takes it.

It keeps to the node's flow control, without which the node ends the connection and holds nothing. RFC 9113.
"""

import struct
from collections import Counter
from typing import Final

from loadtest.attack.http2_socket import DATA, HEADERS, SETTINGS, call_headers, connect, frame, message_head, opening

_RST_STREAM, _PING, _WINDOW_UPDATE = 3, 6, 8
_ACK: Final = 1
_END_STREAM: Final = 1
_INITIAL_WINDOW: Final = 4
"""Name of a setting."""
_WINDOW_BYTES: Final = 65_535
_FRAME_BYTES: Final = 16_384
_CHUNK_BYTES: Final = 1 << 16
_HEAD_BYTES: Final = 9


class _Call:
    def __init__(self, window: int, left: int) -> None:
        self.window = window
        self.left = left


class HalfSender:
    """The connection. `pump` does what can be done without waiting."""

    def __init__(self, target: str) -> None:
        """Connect.

        Raises:
            OSError: nobody takes the connection.
        """
        self._socket = connect(target)
        self._socket.setblocking(False)
        self._out = bytearray(opening())
        self._in = bytearray()
        self._window = self._initial_window = _WINDOW_BYTES
        self._calls: dict[int, _Call] = {}
        self._next_stream = 1
        self.ended: Counter[str] = Counter()
        """Calls that the node has ended, by how it did: ``trailers`` carry a status, and a reset says nothing."""
        self.closed = False
        """Whether the node has closed the connection."""

    def call(self, method: str, message_bytes: int, *, short_by: int = 1) -> None:
        """Begin a call with a message of which the last bytes will never come."""
        head = message_head(message_bytes)
        self._out += call_headers(self._next_stream, method) + frame(DATA, 0, self._next_stream, head)
        self._window -= len(head)
        self._calls[self._next_stream] = _Call(self._initial_window - len(head), message_bytes - short_by)
        self._next_stream += 2

    def pump(self) -> int:
        """Take what the node has sent, and send what its windows allow; returns the bytes of messages put out."""
        if self.closed:
            return 0
        sent = 0
        try:
            self._receive()
            sent = self._fill()
            while self._out:
                del self._out[: self._socket.send(self._out)]
        except BlockingIOError:
            return sent
        except OSError:
            self.closed = True
            return 0
        return sent

    def close(self) -> None:
        """Close the connection, with all its calls."""
        self._socket.close()
        self.closed = True

    def _receive(self) -> None:
        try:
            while received := self._socket.recv(_CHUNK_BYTES):
                self._in += received
            self.closed = True
        except BlockingIOError:
            pass
        while len(self._in) >= _HEAD_BYTES:
            length = int.from_bytes(self._in[:3], "big")
            if len(self._in) < _HEAD_BYTES + length:
                return
            kind, flags, stream = struct.unpack(">BBI", self._in[3:_HEAD_BYTES])
            self._take(kind, flags, stream, bytes(self._in[_HEAD_BYTES : _HEAD_BYTES + length]))
            del self._in[: _HEAD_BYTES + length]

    def _take(self, kind: int, flags: int, stream: int, content: bytes) -> None:
        if kind == _WINDOW_UPDATE:
            increment = int.from_bytes(content, "big")
            if stream == 0:
                self._window += increment
            elif stream in self._calls:
                self._calls[stream].window += increment
        elif kind == SETTINGS and not flags & _ACK:
            for name, value in struct.iter_unpack(">HI", content):
                if name == _INITIAL_WINDOW:
                    for call in self._calls.values():
                        call.window += value - self._initial_window
                    self._initial_window = value
            self._out += frame(SETTINGS, _ACK, 0, b"")
        elif kind == _PING and not flags & _ACK:
            self._out += frame(_PING, _ACK, 0, content)
        elif stream in self._calls and (kind == _RST_STREAM or (kind == HEADERS and flags & _END_STREAM)):
            del self._calls[stream]
            self.ended["reset" if kind == _RST_STREAM else "trailers"] += 1

    def _fill(self) -> int:
        filled = 0
        for stream, call in self._calls.items():
            size = min(call.window, self._window, call.left, _FRAME_BYTES)
            if size > 0 and len(self._out) < _CHUNK_BYTES:
                self._out += frame(DATA, 0, stream, bytes(size))
                call.window -= size
                call.left -= size
                self._window -= size
                filled += size
        return filled
