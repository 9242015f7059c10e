"""The state digest: a sum over all live entries and sessions, so that it does not depend on where they lie."""

import numpy as np
from numpy.typing import NDArray

from statestore.kernel.hashing import bytes_digest, fin, mix
from statestore.kernel.layout import (
    DEPTH,
    DIRECTORY,
    ENTRY_AMOUNT,
    ENTRY_DETAIL,
    ENTRY_IDENT,
    ENTRY_KEY_LO,
    ENTRY_VERSION,
    ENTRY_WORDS,
    IDENT_LENGTH_SHIFT,
    KEY_INLINE_BYTES,
    KIND_ACCOUNT,
    KIND_MASK,
    KIND_VALUE,
    ONE,
    SEGMENT_COUNT,
    SEGMENT_DEPTH,
    SEGMENT_NEXT,
    SESSION_CLIENT,
    SESSION_FRESH,
    SESSION_HIGHEST,
    SESSION_ROWS,
    SESSION_USED,
    SESSION_WORDS,
    WORD_BYTES,
    ZERO,
)
from txqueue.jit.decorators import inner, kernel
from txqueue.jit.raw_memory import U64, Bytes, Words, pointer

FLAGS_SHIFT = np.uint64(32)
IDENTITY_MASK = np.uint64(0xFFFFFFFF)
SESSION_SEED = np.uint64(4)


@inner
def entry_digest(words: Words, region: Bytes, entry: U64) -> U64:
    """Digest of one entry: what it is, its key, what it holds, its version."""
    ident = words[entry + ENTRY_IDENT]
    kind = ident & KIND_MASK
    length = ident >> IDENT_LENGTH_SHIFT
    key = entry + ENTRY_KEY_LO if length <= KEY_INLINE_BYTES else words[entry + ENTRY_KEY_LO]
    held = words[entry + ENTRY_AMOUNT]
    if kind == KIND_VALUE:
        held = bytes_digest(region, held * WORD_BYTES, words[entry + ENTRY_DETAIL])
    flags = words[entry + ENTRY_DETAIL] if kind == KIND_ACCOUNT else ZERO
    h = mix((ident & IDENTITY_MASK) | (flags << FLAGS_SHIFT), bytes_digest(region, key * WORD_BYTES, length))
    return fin(mix(mix(mix(h, held), words[entry + ENTRY_VERSION]), ZERO))


@kernel
def state_digest(region_words: NDArray[np.uint64], region_bytes: NDArray[np.uint8]) -> U64:
    """The state digest. `region_words` is the state's region as uint64, `region_bytes` the same memory as uint8."""
    words = pointer(region_words)
    region = pointer(region_bytes)
    total = ZERO
    prefix = ZERO
    while prefix < ONE << words[DEPTH]:
        segment = words[words[DIRECTORY] + prefix]
        prefix += ONE << (words[DEPTH] - words[segment + SEGMENT_DEPTH])
        while segment != ZERO:
            for number in range(ONE, words[segment + SEGMENT_COUNT] + ONE):
                total += entry_digest(words, region, segment + number * ENTRY_WORDS)
            segment = words[segment + SEGMENT_NEXT]
    for number in range(words[SESSION_FRESH]):
        row = words[SESSION_ROWS] + number * SESSION_WORDS
        if words[row + SESSION_USED] != ZERO:
            total += fin(mix(mix(SESSION_SEED, words[row + SESSION_CLIENT]), words[row + SESSION_HIGHEST]))
    return total
