"""Hashes of keys, and digests by which nodes and verifiers compare what they computed.

Key hashes place entries and sessions in their tables, and whoever could choose keys with equal hashes could make each
lookup a search. So they are keyed by secret words, drawn anew for each process by default: nothing but the places of
things depends on them. Every word of a key meets a secret before it is multiplied, and the product's halves are folded,
which cannot be run backwards as a product modulo 2^64 can (after wyhash and rapidhash, whose constants are public and
here are not). Each word goes through two products at least: one alone turns the steps of a regular series, such as all
namespaces, into steps of equal size, which for one key in some hundreds all end up in the same few places.

The digests are part of the contract: an independent model computes the same ones, so their arithmetic (all modulo 2^64)
must never change. Equal digests are easily made, so nothing is found by them.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from statestore.kernel.kernel_types import Hash, InlineKey
from statestore.kernel.layout import (
    HASH_MASK,
    ONE,
    SECRET_DATA,
    SECRET_HI,
    SECRET_IDENTITY,
    SECRET_KEY,
    SECRET_KIND,
    SECRET_LO,
    SECRET_START,
    SECRET_WORDS,
    WORD_BYTES,
    ZERO,
)
from txqueue.jit.cpu import folded_multiply
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Bytes, Words
from txqueue.jit.raw_memory import load_unaligned

DIGEST_MULTIPLIER = U64(0x9E3779B97F4A7C15)
EFFECT_MULTIPLIER = U64(0xC2B2AE3D27D4EB4F)
CREDIT_MULTIPLIER = U64(0x165667B19E3779F9)
SHIFT_29 = U64(29)
SHIFT_32 = U64(32)
SHIFT_35 = U64(35)


@inner
def digest_step(h: U64, w: U64) -> U64:
    """One step of a digest: a single multiplication on the dependent chain."""
    x = (h ^ w) * DIGEST_MULTIPLIER
    return (x << SHIFT_29) | (x >> SHIFT_35)


@inner
def digest_finish(h: U64) -> U64:
    """Spreads a digest before it is summed with others, so that a sum is as good as a hash of the set."""
    h ^= h >> SHIFT_32
    h *= DIGEST_MULTIPLIER
    return h ^ (h >> SHIFT_29)


@inner
def rotate32(x: U64) -> U64:
    """`x` rotated by 32 bits."""
    return (x << SHIFT_32) | (x >> SHIFT_32)


def hash_secrets(hash_seed: int) -> NDArray[np.uint64]:
    """The secret words for a seed of up to 128 bits: uint64[SECRET_WORDS]."""
    seed = hash_seed.to_bytes(16, "little")
    return np.frombuffer(hashlib.blake2b(seed, digest_size=8 * SECRET_WORDS).digest(), dtype=np.uint64)


@inner
def key_hash(words: Words, key: InlineKey) -> Hash:
    """Hash of a key of up to 16 bytes; of a longer one with its `long_key_hash` in place of `lo`.

    Its high bits choose a bucket, its low bits a group of tags.
    """
    content = folded_multiply(key.lo ^ words[SECRET_LO], key.hi ^ words[SECRET_HI])
    kind = folded_multiply(key.identity ^ words[SECRET_IDENTITY], words[SECRET_KIND])
    return Hash(folded_multiply(content ^ words[SECRET_KEY], kind) & words[HASH_MASK])


@inner
def long_key_hash(words: Words, data: Bytes, start: U64, length: U64) -> U64:
    """Hash of the `length` >= 8 bytes of `data` from `start`; the identity, with the length, is left to `key_hash`."""
    secret = words[SECRET_DATA]
    h = words[SECRET_START]
    at = start
    end = start + length
    while at + WORD_BYTES < end:
        h = folded_multiply(load_unaligned(data, at) ^ secret, h)
        at += WORD_BYTES
    return folded_multiply(load_unaligned(data, end - WORD_BYTES) ^ secret, h)


@inner
def bytes_digest(data: Bytes, start: U64, length: U64) -> U64:
    """Digest of `length` bytes of `data` from `start`: whole little-endian words, the last zero-padded."""
    h = length
    at = start
    end = start + length
    while at + WORD_BYTES <= end:
        h = digest_step(h, load_unaligned(data, at))
        at += WORD_BYTES
    if at < end:
        w = ZERO
        shift = ZERO
        while at < end:
            w |= U64(data[at]) << shift
            shift += WORD_BYTES
            at += ONE
        h = digest_step(h, w)
    return h
