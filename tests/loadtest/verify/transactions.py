"""Writes records, blocks and logs by hand, byte by byte from the contract: the tests' own encoder."""

import struct
import zlib
from pathlib import Path
from typing import Any

from xxhash import xxh3_128_digest

from loadtest.verify.log_parser import LogBlock

PAGE = 4096


def record(
    operation: int,
    sequence: int,
    *,
    key: bytes = b"",
    value: bytes = b"",
    debit: int = 0,
    credit: int = 0,
    amount: int = 0,
    flags: int = 0,
    lower: int = 0,
    client: int = 1,
    namespace: int = 0,
) -> tuple[bytes, bytes]:
    """One record and its payload. ``lower`` is the operand's lower half: expected version or floor."""
    payload = value
    if operation in (2, 3, 4, 5):
        if len(key) > 16:
            payload, inline = key + value, b""
        else:
            inline = key
        operand = struct.pack("<QQ", lower & (1 << 64) - 1, len(key))
    else:
        inline, operand = struct.pack("<QQ", debit, 0), struct.pack("<QQ", credit, 0)
    head = struct.pack(
        "<QQ16s16sqHBBI", client, sequence, inline, operand, amount, namespace, operation, flags, len(payload)
    )
    return head, payload


def body(*transactions: tuple[bytes, bytes]) -> tuple[bytes, bytes]:
    """Records and payloads of a frame or block."""
    return b"".join(head for head, _ in transactions), b"".join(payload for _, payload in transactions)


def block(records: bytes, payloads: bytes, *, index: int = 1, position: int = 0, time_ns: int = 1) -> LogBlock:
    """A block as the log reader would give it."""
    writable = memoryview(bytearray(records)), memoryview(bytearray(payloads))
    return LogBlock(index, position, len(records) // 64, time_ns, *writable)


class LogWriter:
    """Writes a log as the node does, into segments of ``segment_bytes``."""

    def __init__(self, directory: Path, segment_bytes: int = 1 << 20, version: int = 2) -> None:
        self.directory = directory
        self.version = version
        self.index = 0
        self.position = 0
        self._previous = bytes(16)
        self._segment_bytes = segment_bytes
        self._image = bytearray()
        self._number = 0

    def append(self, records: bytes, payloads: bytes = b"", *, kind: int = 1, **header: Any) -> int:
        """Seal one block and write it; returns its index."""
        stored = self._block(records, payloads, kind, header)
        if not self._image or len(self._image) + len(stored) > self._segment_bytes:
            self._number += 1
            fields = (b"PSLG", 1, 1, self._number, self.index + 1, self.position, self._segment_bytes)
            head = struct.pack("<4sHxxQQQQQ12x", *fields)
            self._image = bytearray((head + struct.pack("<I", zlib.crc32(head))).ljust(PAGE, b"\0"))
        self._image += stored
        path = self.directory / f"{self._number:010}.segment"
        path.write_bytes(bytes(self._image).ljust(self._segment_bytes, b"\0"))
        self.index += 1
        self.position += len(records) // 64
        self._previous = xxh3_128_digest(stored[:128] if self.version == 1 else stored[:128] + stored[192:256])
        return self.index

    def _block(self, records: bytes, payloads: bytes, kind: int, header: dict[str, Any]) -> bytes:
        beginning = struct.pack(
            "<4sHHQQQQIIQ",
            b"PSBK",
            header.get("version", self.version),
            kind,
            1,
            1,
            header.get("index", self.index + 1),
            header.get("position", self.position),
            len(records) // 64,
            len(payloads),
            header.get("time_ns", 1),
        )
        body_hash = header.get("body_hash", xxh3_128_digest(records + payloads))
        if self.version == 1:
            packed = beginning + struct.pack("<16s16sQ28x", self._previous, body_hash, self.index)
            packed += struct.pack("<I", zlib.crc32(packed))
        else:
            packed = beginning + struct.pack(
                "<QQHHII44x", 0, 0, 256, header.get("hash_algorithm", 1), header.get("flags", 0), 0
            )
            packed += struct.pack("<QQH2x", 77, self.index, header.get("cipher", 0))
            rest = bytes(40) + struct.pack("<32s32s", self._previous, body_hash)
            packed += struct.pack("<I", zlib.crc32(packed + rest)) + rest
        whole = packed + records + payloads
        return whole.ljust(len(whole) + -len(whole) % PAGE, b"\0")
