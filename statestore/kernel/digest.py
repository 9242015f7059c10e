"""Digest of the state: a sum over all live entries and sessions, so that it does not depend on where they lie."""

import numpy as np
from numpy.typing import NDArray

from statestore.kernel.hashing import bytes_digest, digest_finish, digest_step
from statestore.kernel.kernel_types import Entry
from statestore.kernel.layout import (
    BUCKET_COUNT,
    BUCKET_DEPTH,
    BUCKET_NEXT,
    DIRECTORY,
    DIRECTORY_DEPTH,
    ENTRY_AMOUNT,
    ENTRY_IDENTITY,
    ENTRY_KEY_BLOCK,
    ENTRY_KEY_LO,
    ENTRY_OVERDRAFT,
    ENTRY_VALUE_BLOCK,
    ENTRY_VALUE_BYTES,
    ENTRY_VERSION,
    ENTRY_WORDS,
    IDENTITY_LENGTH_SHIFT,
    KEY_INLINE_BYTES,
    KIND_ACCOUNT,
    KIND_MASK,
    KIND_VALUE,
    ONE,
    SESSION_CLIENT,
    SESSION_HIGHEST,
    SESSION_NEXT,
    WORD_BYTES,
    ZERO,
)
from statestore.kernel.sessions.order_of_use import ended_head, live_head
from txqueue.jit.decorators import inner, kernel
from txqueue.jit.native_types import U64, Words, u64_range
from txqueue.jit.raw_memory import as_bytes, pointer

FLAGS_SHIFT = U64(32)
KIND_AND_NAMESPACE_MASK = U64(0xFFFFFFFF)
SESSION_SEED = U64(4)


@inner
def entry_digest(words: Words, entry: Entry) -> U64:
    """Digest of one entry: what it is, its key, what it holds, its version."""
    region = as_bytes(words)
    identity = words[entry + ENTRY_IDENTITY]
    kind = identity & KIND_MASK
    length = identity >> IDENTITY_LENGTH_SHIFT
    key = entry + ENTRY_KEY_LO if length <= KEY_INLINE_BYTES else words[entry + ENTRY_KEY_BLOCK]
    held = words[entry + ENTRY_AMOUNT]
    if kind == KIND_VALUE:
        held = bytes_digest(region, words[entry + ENTRY_VALUE_BLOCK] * WORD_BYTES, words[entry + ENTRY_VALUE_BYTES])
    flags = words[entry + ENTRY_OVERDRAFT] if kind == KIND_ACCOUNT else ZERO
    what = (identity & KIND_AND_NAMESPACE_MASK) | (flags << FLAGS_SHIFT)
    h = digest_step(what, bytes_digest(region, key * WORD_BYTES, length))
    return digest_finish(digest_step(digest_step(digest_step(h, held), words[entry + ENTRY_VERSION]), ZERO))


@kernel
def state_digest(region_words: NDArray[np.uint64]) -> U64:
    """The state digest; `region_words` is the state's region."""
    words = pointer(region_words)
    total = ZERO
    prefix = ZERO
    while prefix < ONE << words[DIRECTORY_DEPTH]:
        bucket = words[words[DIRECTORY] + prefix]
        prefix += ONE << (words[DIRECTORY_DEPTH] - words[bucket + BUCKET_DEPTH])
        while bucket != ZERO:
            for number in u64_range(ONE, words[bucket + BUCKET_COUNT] + ONE):
                total += entry_digest(words, Entry(bucket + number * ENTRY_WORDS))
            bucket = words[bucket + BUCKET_NEXT]
    for head in (live_head(words), ended_head(words)):
        session = words[head + SESSION_NEXT]
        while session != head:
            h = digest_step(SESSION_SEED, words[session + SESSION_CLIENT])
            total += digest_finish(digest_step(h, words[session + SESSION_HIGHEST]))
            session = words[session + SESSION_NEXT]
    return total
