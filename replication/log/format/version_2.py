"""Version 2 of a block's header, 256 bytes: one that is chained with all others, and one part that is this disk's.

======  ====  ================  ==========================================================================
offset  size  field             meaning
======  ====  ================  ==========================================================================
     0     4  magic             ``PSBK``
     4     2  version           2
     6     2  kind              1: transactions, 2: the empty block that opens an epoch
     8     8  cluster_id        whose log it belongs to
    16     8  epoch             of the ballot under which it was sealed
    24     8  index             the block's place in the log, from 1, without gaps
    32     8  first_position    the number of its first transaction, from 0
    40     4  count             records
    44     4  payload_bytes     payloads together, without padding
    48     8  time_ns           Unix time, given by the leader; the time of every transaction in the block
    56     8  node              of the ballot under which it was sealed; 0: the only node, which has no number
    64     8  generation        of the membership under which it was sealed; 0: there is none
    72     2  header_bytes      256: the body begins there
    74     2  hash_algorithm    1: XXH3-128, 2: BLAKE3-256, 3: SHA-256; of body and header
    76     4  flags             bit 0: frames are signed, and their boundaries stand in the body
    80     4  boundary_bytes    boundaries together; 0 without the flag
    84    44  reserved          zero
------  ----  ----------------  --------------------------------------------------------------------------
   128     8  log_id            of the log, on this disk, that the block was written to
   136     8  durable_index     highest index that this log knew to be synced on this disk when it wrote it
   144     2  cipher            0: none, 1: AES-256-GCM
   146     2  reserved          zero
   148     4  header_crc        CRC-32 of the header's other 252 bytes, as they stand there
   152     8  key_id            of the data key; 0 without a cipher
   160    12  nonce             zero without a cipher
   172    16  tag               zero without a cipher
   188     4  reserved          zero
------  ----  ----------------  --------------------------------------------------------------------------
   192    32  previous_hash     hash of the previous block's header; zero in the log's first block
   224    32  body_hash         hash of the body
======  ====  ================  ==========================================================================

**Hash.** A header's hash is taken of bytes 0 to 127 and 192 to 255, before encryption. So it covers the body and,
through ``previous_hash``, all blocks before it, and none of what is this disk's own: the block is the same block on
every node, encrypted or not, and whatever each knew to be synced. A hash of 16 bytes is followed by zeros. The
previous block's hash is by *its* algorithm, so a chain may go on with another one, as it goes on from version 1.

**Body.** Records, then payloads. With signed frames there follow, from the next multiple of 8 on, ``boundary_bytes`` of
boundaries, 80 bytes for each frame in order: its records (4) and payload bytes (4), the signer's key (8), and the
signature (64). ``body_hash`` covers all of it, with the zeros before the boundaries.

**Encryption** covers bytes from 192 to the body's end, which lie side by side: hashes of what is secret are as secret.
What stands before is authenticated, with tag and checksum as zero. The checksum covers what is written, so that a torn
header is told without a key. Each key of a log has a number, so that a log that is opened anew, cut or restored takes
a new one.

**Certificates** by which nodes agree stand beside blocks, never in them: they are made after the hash that they sign.

What this program does not write it does not read: ciphers, other hashes and flags are refused by name.
"""

import struct
import zlib
from typing import Final, NoReturn

import numpy as np
from numpy.typing import NDArray
from xxhash import xxh3_128_digest

from replication.log.ballot import Ballot
from replication.log.errors import BlockInvalid, BlockUnsupported
from replication.log.format.header import BLOCK_MAGIC, HASH_BYTES, HEADER_BYTES, VERSION_2, Header, checksum

XXH3_128: Final = 1

_CHAINED: Final = struct.Struct("<IHHQQQQIIQQQHHII44x")
_HASHES: Final = struct.Struct("<32s32s")
_STORED_AT: Final = _CHAINED.size
_HASHES_AT: Final = HEADER_BYTES - _HASHES.size
assert (_STORED_AT, _HASHES_AT) == (128, 192)

_STAMP: Final = struct.Struct("<QQ")
_CRC: Final = struct.Struct("<I")
_CRC_AT: Final = 148
_FIELDS: Final = struct.Struct("<6xHQQQQIIQQQ12x44xQQ48x32s32s")
assert _FIELDS.size == HEADER_BYTES
_MEANS: Final = struct.Struct("<HHII")
"""Length of the header, hash algorithm, flags, bytes of boundaries."""
_MEANS_AT: Final = 72
_PLAIN: Final = _MEANS.pack(HEADER_BYTES, XXH3_128, 0, 0)
_CIPHER_AT: Final = 144
_KEY_AT: Final = 152
_UNUSED: Final = bytes(_HASHES_AT - _KEY_AT)
"""Key, nonce and tag of a block that is not encrypted, and reserved room."""
_NO_MORE: Final = bytes(32 - HASH_BYTES)


def pack(
    *,
    kind: int,
    cluster_id: int,
    ballot: Ballot,
    generation: int,
    index: int,
    first_position: int,
    count: int,
    payload_bytes: int,
    time_ns: int,
    previous_hash: bytes,
    body_hash: bytes,
    log_id: int,
    durable_index: int,
) -> tuple[bytes, Header]:
    """Return a header, ``bytes[256]``, and its fields; hashes of 16 bytes stand in fields of 32."""
    chained = _CHAINED.pack(
        BLOCK_MAGIC,
        VERSION_2,
        kind,
        cluster_id,
        ballot.epoch,
        index,
        first_position,
        count,
        payload_bytes,
        time_ns,
        ballot.node,
        generation,
        HEADER_BYTES,
        XXH3_128,
        0,
        0,
    )
    hashes = _HASHES.pack(previous_hash, body_hash)
    before, behind = chained + _STAMP.pack(log_id, durable_index) + bytes(4), _UNUSED + hashes
    header = before + _CRC.pack(zlib.crc32(behind, zlib.crc32(before))) + behind
    return header, Header(
        VERSION_2,
        HEADER_BYTES,
        kind,
        cluster_id,
        ballot,
        generation,
        index,
        first_position,
        count,
        payload_bytes,
        time_ns,
        previous_hash,
        body_hash,
        log_id,
        durable_index,
        xxh3_128_digest(chained + hashes),
    )


def stamp(page: NDArray[np.uint8], log_id: int, durable_index: int) -> None:
    """Say in a block's first bytes (writable ``uint8[>= 256]``) which log writes it, and what that knew to be synced.

    The block stays the block that it is: its hash does not cover this.
    """
    _STAMP.pack_into(page.data, _STORED_AT, log_id, durable_index)
    _CRC.pack_into(page.data, _CRC_AT, checksum(page[:HEADER_BYTES].tobytes()))


def unpack(header: bytes) -> Header:
    """Return the fields of a whole header, ``bytes[256]``.

    Raises:
        BlockInvalid: fields contradict each other.
        BlockUnsupported: the block uses what this program does not know.
    """
    if header[_MEANS_AT : _MEANS_AT + _MEANS.size] != _PLAIN or header[_CIPHER_AT : _CIPHER_AT + 2] != b"\0\0":
        _refuse(header)
    if header[_KEY_AT:_HASHES_AT] != _UNUSED:
        raise BlockInvalid("the header has a key, a nonce or a tag, and no cipher")
    (
        kind,
        cluster_id,
        epoch,
        index,
        first_position,
        count,
        payload_bytes,
        time_ns,
        node,
        generation,
        log_id,
        durable_index,
        previous_hash,
        body_hash,
    ) = _FIELDS.unpack(header)
    return Header(
        VERSION_2,
        HEADER_BYTES,
        kind,
        cluster_id,
        Ballot(epoch, node),
        generation,
        index,
        first_position,
        count,
        payload_bytes,
        time_ns,
        previous_hash[:HASH_BYTES] if previous_hash.endswith(_NO_MORE) else previous_hash,
        body_hash[:HASH_BYTES],
        log_id,
        durable_index,
        xxh3_128_digest(header[:_STORED_AT] + header[_HASHES_AT:]),
    )


def _refuse(header: bytes) -> NoReturn:
    header_bytes, hash_algorithm, flags, boundary_bytes = _MEANS.unpack_from(header, _MEANS_AT)
    cipher = int.from_bytes(header[_CIPHER_AT : _CIPHER_AT + 2], "little")
    if cipher:
        raise BlockUnsupported(f"a block encrypted by cipher {cipher}")
    if hash_algorithm != XXH3_128:
        raise BlockUnsupported(f"a block hashed by algorithm {hash_algorithm}")
    if flags:
        raise BlockUnsupported(f"a block with flags {flags:#x}")
    if header_bytes != HEADER_BYTES:
        raise BlockUnsupported(f"a block behind a header of {header_bytes} bytes")
    raise BlockInvalid(f"the header has {boundary_bytes} bytes of boundaries, and no flag for them")
