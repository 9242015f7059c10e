"""A ring's parts do not overlap, and impossible capacities are refused."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.contract.limits import BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX
from txqueue.region import cache_line
from txqueue.ring import layout
from txqueue.ring.layout import RingLayout


@given(st.integers(1, 16), st.integers(1, 5000), st.integers(4, 20))
def test_parts_follow_one_another_on_lines_of_their_own(slot_bits: int, producers: int, buffer_bits: int) -> None:
    slots = 1 << slot_bits
    if producers >= slots:
        with pytest.raises(ValueError, match="exceed producers"):
            RingLayout(slots, producers, 1 << buffer_bits)
        return
    ring = RingLayout(slots, producers, 1 << buffer_bits)
    assert ring.slots_at >= layout.FIXED_WORDS
    assert ring.controls_at >= ring.slots_at + slots
    assert ring.buffers_at >= ring.controls_at + producers * layout.CONTROL_WORDS
    assert ring.total_words == ring.buffers_at + producers * ring.buffer_words
    assert (ring.controls_at % 16, ring.buffers_at % 512) == (0, 0)


def test_words_of_different_writers_are_two_lines_apart() -> None:
    groups = [layout.CONSTANTS, layout.TAIL, layout.HEAD, layout.BATCH_SIZES, layout.PARKED, layout.FIXED_WORDS]
    assert all(later - earlier >= 16 for earlier, later in pairwise(groups))
    assert layout.SKIP_FROM - layout.OWNER >= 16
    assert layout.READ - layout.SKIP_FROM >= 16
    assert layout.PARKS < layout.HEAD + cache_line.LINE_WORDS
    assert layout.DEAD_CLAIMS < layout.SKIP_FROM
    assert layout.DWELLS + layout.DWELL_BUCKETS < layout.PARKED


def test_the_default_area_holds_the_largest_frame() -> None:
    assert layout.frame_words(BATCH_SIZE, FRAME_PAYLOAD_BYTES_MAX) * 8 <= layout.BUFFER_BYTES_DEFAULT


@pytest.mark.parametrize(
    ("slots", "producers", "buffer_words"),
    [(3, 1, 64), (1, 1, 64), (4, 0, 64), (1 << 18, 1 << 17, 64), (4, 1, 48), (4, 1, 8)],
)
def test_impossible_capacities_are_refused(slots: int, producers: int, buffer_words: int) -> None:
    with pytest.raises(ValueError, match="must"):
        RingLayout(slots, producers, buffer_words)
