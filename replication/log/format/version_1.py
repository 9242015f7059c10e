"""Version 1 of a block's header, 128 bytes, which nobody writes any more.

It was written by nodes that had their log for themselves, so its epoch is 1 and names no node.

======  ====  ================  ==========================================================================
offset  size  field             meaning
======  ====  ================  ==========================================================================
     0     4  magic             ``PSBK``
     4     2  version           1
     6     2  kind              1: transactions, 2: the empty block that opens an epoch
     8     8  cluster_id        whose log it belongs to
    16     8  epoch             the leadership under which it was sealed
    24     8  index             the block's place in the log, from 1, without gaps
    32     8  first_position    the number of its first transaction, from 0
    40     4  count             records
    44     4  payload_bytes     payloads together, without padding
    48     8  time_ns           Unix time, given by the leader; the time of every transaction in the block
    56    16  previous_hash     hash of the previous block's header; zero in the log's first block
    72    16  body_hash         XXH3-128 of records and payloads
    88     8  durable_index     highest index that its writer knew to be synced when sealing
    96    28  reserved          zero
   124     4  header_crc        CRC-32 of bytes 0 to 123
======  ====  ================  ==========================================================================

The header's hash is the XXH3-128 of its 128 bytes.
"""

import struct
from typing import Final

from xxhash import xxh3_128_digest

from replication.log.ballot import Ballot
from replication.log.format.header import VERSION_1, VERSION_1_BYTES, Header

_FIELDS: Final = struct.Struct("<6xHQQQQIIQ16s16sQ28x4x")
assert _FIELDS.size == VERSION_1_BYTES


def unpack(header: bytes) -> Header:
    """Return the fields of a whole header, ``bytes[128]``."""
    (
        kind,
        cluster_id,
        epoch,
        index,
        first_position,
        count,
        payload_bytes,
        time_ns,
        previous_hash,
        body_hash,
        durable_index,
    ) = _FIELDS.unpack(header)
    return Header(
        VERSION_1,
        VERSION_1_BYTES,
        kind,
        cluster_id,
        Ballot(epoch, 0),
        0,
        index,
        first_position,
        count,
        payload_bytes,
        time_ns,
        previous_hash,
        body_hash,
        0,
        durable_index,
        xxh3_128_digest(header),
    )
