"""Limits of the contract: what one record, frame, batch or block may hold."""

from typing import Final

BATCH_SIZE: Final = 10_000
"""Records of a batch from the ring, and so of a block, at most."""
FRAME_RECORDS_MAX: Final = BATCH_SIZE
"""Records of a frame, at most: a frame always fits a batch whole."""
PAYLOAD_BYTES_MAX: Final = 1 << 20
"""Payload of one transaction."""
FRAME_PAYLOAD_BYTES_MAX: Final = 4 << 20
"""Payloads of one frame together, and of one block."""
KEY_BYTES_MAX: Final = 1024
KEY_INLINE_BYTES_MAX: Final = 16
RESULT_WINDOW: Final = 131_072
"""Sequences of one client, back from its newest, whose results a node still knows: a retry within them is answered."""
