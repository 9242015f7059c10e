"""gRPC channel of a client, with its options."""

from typing import Final

import grpc
from grpc import aio

from penstock.client.options import RetryOptions

MESSAGE_BYTES_MAX: Final = 16 << 20


def open_channel(target: str, credentials: grpc.ChannelCredentials | None, retry: RetryOptions) -> aio.Channel:
    """A channel to ``host:port`` or ``unix:path``, unencrypted without credentials; connects when first used."""
    options = (
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        # Each client has a connection of its own: sharing one would share its flow control, too.
        ("grpc.use_local_subchannel_pool", 1),
        # A host that vanished is detected in 15 s; nothing else would end its stream or a watch.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # gRPC's own waits (1 s to 2 min) are longer than RetryOptions.
        ("grpc.initial_reconnect_backoff_ms", max(100, int(retry.backoff_base_ms))),
        ("grpc.min_reconnect_backoff_ms", max(100, int(retry.backoff_base_ms))),
        ("grpc.max_reconnect_backoff_ms", max(100, int(retry.backoff_cap_ms))),
    )
    if credentials is None:
        return aio.insecure_channel(target, options=options)
    return aio.secure_channel(target, credentials, options=options)
