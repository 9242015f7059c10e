"""gRPC channel of a client, with its options."""

import secrets
from typing import Final, cast

import grpc
from grpc import aio

from penstock.client.errors import InvalidOperation, UnsupportedRuntime
from penstock.client.options import RetryOptions
from penstock.client.process.runtime_support import grpc_left_behind
from penstock.contract.target import InvalidTarget, parse_target

MESSAGE_BYTES_MAX: Final = 16 << 20
CONNECT_MS: Final = 5_000
"""How long one attempt to connect may take. What refuses fails at once all the same."""


def open_channel(target: str, credentials: grpc.ChannelCredentials | None, retry: RetryOptions) -> aio.Channel:
    """A channel to a target (`parse_target`), unencrypted without credentials; connects when first used.

    Raises:
        InvalidOperation: the target names no node.
        UnsupportedRuntime: an encrypted one cannot be had in this process.
    """
    try:
        named = parse_target(target)
    except InvalidTarget as error:
        raise InvalidOperation(str(error)) from None
    if grpc_left_behind():
        if credentials is not None:
            raise UnsupportedRuntime(
                "this process was forked while a client was open, and gRPC's encryption does not survive that: close "
                "all clients before the fork, or start processes with multiprocessing's 'spawn' or 'forkserver' method"
            )
        from penstock.client.process.child_channel import ChildChannel  # nobody else pays for importing grpclib

        return cast(aio.Channel, ChildChannel(named))  # all of it that a client uses
    options = (
        *named.channel_options,
        # On Unix sockets a node tells connections apart by nothing else (services/rpc/limits/connection.py).
        ("grpc.primary_user_agent", f"penstock-client (connection {secrets.token_hex(8)})"),
        ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
        ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
        # Each client has a connection of its own: sharing one would share its flow control, too.
        ("grpc.use_local_subchannel_pool", 1),
        # A host that vanished is detected in 15 s; nothing else would end its stream or a watch.
        ("grpc.keepalive_time_ms", 10_000),
        ("grpc.keepalive_timeout_ms", 5_000),
        # gRPC's own waits (1 s to 2 min) are longer than RetryOptions.
        ("grpc.initial_reconnect_backoff_ms", max(100, int(retry.backoff_base_ms))),
        # In spite of its name this bounds an attempt to connect, which a busy or distant node may take its time for.
        ("grpc.min_reconnect_backoff_ms", CONNECT_MS),
        ("grpc.max_reconnect_backoff_ms", max(100, int(retry.backoff_cap_ms))),
    )
    if credentials is None:
        return aio.insecure_channel(named.address, options=options)
    return aio.secure_channel(named.address, credentials, options=options)
