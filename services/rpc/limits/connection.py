"""Connection: what tells the connections of a node's clients apart, so that each can be held to its share.

gRPC gives a TCP connection's address and port. Of a Unix socket it gives nothing: neither a name nor the credentials of
the process at the other end, with gRPC's local credentials either. But a channel says the same ``user-agent`` with all
of its calls, and a Penstock client draws a number for it that no other has. Other clients on Unix sockets count as one
connection where they say the same. Whoever invents names gets no more by them than by as many TCP connections.
"""

from typing import Final

from services.rpc.rich_status import Context

_NAME_LENGTH_MAX: Final = 128


def connection_of(context: Context) -> str:
    """Name the connection by which a call came."""
    peer = context.peer()
    if peer != "unix:":
        return peer
    for key, value in context.invocation_metadata() or ():
        if key == "user-agent":
            return f"{peer}{value[:_NAME_LENGTH_MAX]!s}"
    return peer
