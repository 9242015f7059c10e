"""Hashes of keys, and the digests by which nodes and verifiers compare what they computed.

Key hashes place entries in the table and are private to it. The digests are part of the contract: an independent model
computes the same ones, so their arithmetic (all modulo 2^64) must never change.
"""

import numpy as np

from statestore.compiled import inner
from statestore.layout import ONE, WORD_BYTES, ZERO
from statestore.pointers import U64, Bytes, load_unaligned

K = np.uint64(0x9E3779B97F4A7C15)
K1 = np.uint64(0xC2B2AE3D27D4EB4F)
K2 = np.uint64(0x165667B19E3779F9)
SHIFT_29 = np.uint64(29)
SHIFT_32 = np.uint64(32)
SHIFT_35 = np.uint64(35)


@inner
def mix(h: U64, w: U64) -> U64:
    """One step of a digest: a single multiplication on the dependent chain."""
    x = (h ^ w) * K
    return (x << SHIFT_29) | (x >> SHIFT_35)


@inner
def fin(h: U64) -> U64:
    """Spreads a digest before it is summed with others, so that a sum is as good as a hash of the set."""
    h ^= h >> SHIFT_32
    h *= K
    return h ^ (h >> SHIFT_29)


@inner
def half_turn(x: U64) -> U64:
    """`x` rotated by 32 bits."""
    return (x << SHIFT_32) | (x >> SHIFT_32)


@inner
def key_hash(lo: U64, hi: U64, ident: U64) -> U64:
    """Hash of a key of up to 16 bytes, or of a longer key's digest: high bits choose a segment, low bits a slot."""
    h = (lo ^ (ident * K2)) * K
    h = (half_turn(h) ^ hi) * K1
    h = (h ^ (h >> SHIFT_32)) * K2
    return h ^ (h >> SHIFT_29)


@inner
def bytes_digest(data: Bytes, start: U64, length: U64) -> U64:
    """Digest of `length` bytes of `data` from `start`: whole little-endian words, the last zero-padded."""
    h = length
    at = start
    end = start + length
    while at + WORD_BYTES <= end:
        h = mix(h, load_unaligned(data, at))
        at += WORD_BYTES
    if at < end:
        w = ZERO
        shift = ZERO
        while at < end:
            w |= np.uint64(data[at]) << shift
            shift += WORD_BYTES
            at += ONE
        h = mix(h, w)
    return h
