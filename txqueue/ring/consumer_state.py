"""The layout descriptor of a consumer's state: words in an array of its own process, which nobody else reads.

A consumer that another has taken over from spoils nothing but this.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from txqueue.region.cache_line import LINE_WORDS
from txqueue.ring.layout import EPOCH_BITS

EPOCH: Final = 0
"""The epoch of its claim, or NO_EPOCH."""
INTERRUPTS_SEEN: Final = 1
"""INTERRUPTS as it was when the last wait ended."""
PARKED_MARK: Final = 2
"""What it stored into PARKED, or AWAKE."""
BATCH_NUMBER: Final = 3
"""Number of the batch in the making."""
ENQUEUED_SEEN: Final = 4
"""Records enqueued when the bound was last adapted."""
CURSORS: Final = LINE_WORDS

# A cursor, one for each producer: what the batch in the making takes from it, to be made known once that is committed.
CURSOR_FRAME: Final = 0
"""The offset of its next frame; OLDEST where that is beyond it."""
CURSOR_RECORDS: Final = 1
CURSOR_PAYLOAD_BYTES: Final = 2
CURSOR_LINK: Final = 3
"""The producer that the batch drew from before it first drew from this one."""
CURSOR_BATCH: Final = 4
"""Number of the batch that last drew from it."""
CURSOR_WORDS: Final = LINE_WORDS

NO_EPOCH: Final = 1 << EPOCH_BITS


def make(producers: int) -> NDArray[np.uint64]:
    """The state of a consumer without a claim, for a ring of so many producers: uint64[:]."""
    state = np.zeros(CURSORS + producers * CURSOR_WORDS, np.uint64)
    state[EPOCH] = NO_EPOCH
    return state
