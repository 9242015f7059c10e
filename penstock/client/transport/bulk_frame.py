"""Frames from a program's own columns of records."""

import asyncio
from collections.abc import Iterator

import numpy as np

from penstock.client.arguments import boolean, bytes_view
from penstock.client.columns.columns import Records, words_and_payloads
from penstock.client.errors import InvalidOperation, PenstockError
from penstock.client.results import FrameReceipt
from penstock.client.transport.frame import Frame
from penstock.contract.flag import LINKED
from penstock.contract.frame_codec import Bytes, encode_frame
from penstock.contract.limits import FRAME_PAYLOAD_BYTES_MAX, FRAME_RECORDS_MAX
from penstock.contract.record import RECORD, WORD_CLIENT, WORD_SEQUENCE, Words
from penstock.v1.txqueue_pb2 import SubmitStreamResponse


class BulkFrame(Frame):
    """A frame with one receipt for one caller."""

    __slots__ = ("receipt",)

    def __init__(self, frame_id: int, words: Words, payloads: Bytes, traceparent: str) -> None:
        first = words[0]
        message = encode_frame(frame_id, words.data, payloads, traceparent)
        super().__init__(frame_id, int(first[WORD_CLIENT]), int(first[WORD_SEQUENCE]), len(words), message)
        self.receipt: asyncio.Future[FrameReceipt] = asyncio.get_running_loop().create_future()

    def complete(self, response: SubmitStreamResponse) -> None:
        """Give the caller the receipt, unless it stopped waiting."""
        if not self.receipt.done():
            self.receipt.set_result(FrameReceipt.of(response))

    def fail(self, error: PenstockError) -> None:
        """Give the caller the error, unless it stopped waiting."""
        if not self.receipt.done():
            self.receipt.set_exception(error)


def checked_columns(records: Records, payloads: Bytes, *, stamp: bool) -> tuple[Words, Bytes]:
    """The records as uint64[n, 8] and the payloads as contiguous bytes, if they are such.

    Raises:
        InvalidOperation: they are not, or are to be stamped and must not be written to.
    """
    view = bytes_view(payloads, "payloads")
    try:
        words, own = words_and_payloads(records, payloads)
    except (TypeError, AttributeError) as error:
        raise InvalidOperation(f"records are no array of records: {error}") from None
    if boolean(stamp, "stamp") and not words.flags.writeable:
        raise InvalidOperation("records must be writeable to be stamped: give a copy, or stamp=False")
    if own is not payloads:
        return words, own
    return words, payloads if type(payloads) is bytes else view if view.c_contiguous else view.tobytes()


def check_payload_lengths(slices: list[tuple[slice, slice]], payload_bytes: int) -> None:
    """Check that the records of all frames together say how long the payloads are.

    Raises:
        InvalidOperation: they do not.
    """
    said = slices[-1][1].stop if slices else 0
    if said != payload_bytes:
        raise InvalidOperation(f"payloads have {payload_bytes} bytes, but the records' payload_length add up to {said}")


def check_size(words: Words, payloads: Bytes) -> None:
    """Check the size of a frame; its fields are checked by the node.

    Raises:
        InvalidOperation: the node would refuse it for its size.
    """
    if not 1 <= len(words) <= FRAME_RECORDS_MAX:
        raise InvalidOperation(
            f"a frame holds 1 to {FRAME_RECORDS_MAX} transactions, not {len(words)}: use submit_records"
        )
    if memoryview(payloads).nbytes > FRAME_PAYLOAD_BYTES_MAX:
        raise InvalidOperation(f"a frame's payloads hold up to {FRAME_PAYLOAD_BYTES_MAX} bytes: use submit_records")


def stamp(words: Words, client_id: int, first_sequence: int) -> None:
    """Write the ids of n transactions into their records: the client's, and sequences from ``first_sequence`` on."""
    words[:, WORD_CLIENT] = client_id
    words[:, WORD_SEQUENCE] = np.arange(first_sequence, first_sequence + len(words), dtype=np.uint64)


def frame_slices(words: Words) -> Iterator[tuple[slice, slice]]:
    """Split records and their payloads into frames, as large as possible, without cutting a chain.

    Yields for each frame the slice of the records and the slice of the payload bytes.

    Raises:
        InvalidOperation: a chain is left open, or a chain or a payload is larger than a frame.
    """
    records = words.view(RECORD).reshape(-1)
    payload_ends = np.concatenate(([0], np.cumsum(records["payload_length"], dtype=np.int64)))
    may_end = np.concatenate(([True], (records["flags"] & LINKED) == 0))
    """[i]: whether a frame may end after the first i records."""
    start = 0
    while start < len(records):
        furthest = np.searchsorted(payload_ends, payload_ends[start] + FRAME_PAYLOAD_BYTES_MAX, side="right") - 1
        stop = min(int(furthest), start + FRAME_RECORDS_MAX)
        stop = start + int(np.flatnonzero(may_end[start : stop + 1])[-1])
        if stop == start:
            raise InvalidOperation(f"record {start} starts a chain that is left open, or too large for one frame")
        yield slice(start, stop), slice(int(payload_ends[start]), int(payload_ends[stop]))
        start = stop
