"""Listening: the addresses of one server, each of which is nobody else's from `bind` to `release`."""

import errno
import socket
from collections.abc import Callable, Sequence

from services.rpc.serving.socket_claim import SocketClaim, SocketInUse


class ListenError(Exception):
    """An address cannot be listened on."""


class Listening:
    """Some addresses, and the claims on those that are Unix sockets. Belongs to one thread."""

    def __init__(self, addresses: Sequence[str]) -> None:
        """Each address is ``host:port``, ``[ipv6]:port`` or ``unix:path``."""
        self._addresses = tuple(addresses)
        self._claims: dict[str, SocketClaim] = {}

    def bind(self, add_port: Callable[[str], int]) -> list[str]:
        """Have a server bind each address; returns them with the ports that were taken where 0 was asked for.

        Raises:
            ListenError: an address is in use, or not this machine's. Those before it are bound still, and claimed.
        """
        bound = []
        for address in self._addresses:
            try:
                self._claim(address)
                port = add_port(address)
            except (RuntimeError, OSError, SocketInUse) as error:
                raise ListenError(
                    f"cannot listen on {address}: it is in use, not an address of this machine, or in a directory that "
                    "does not exist or cannot be written; choose another in listen.addresses or listen.status_addresses"
                ) from error
            if address in self._claims:
                self._claims[address].note_bound()
            bound.append(address if address.startswith("unix:") else f"{address.rpartition(':')[0]}:{port}")
        return bound

    def release(self) -> None:
        """Give the addresses up, once the server has let go of them; doing so again changes nothing."""
        while self._claims:
            self._claims.popitem()[1].release()

    def lost(self) -> list[str]:
        """Give the Unix addresses at which somebody else listens by now, or nobody does."""
        return [address for address, claim in self._claims.items() if claim.lost]

    def _claim(self, address: str) -> None:
        """Make sure that nobody else is reached by an address, which gRPC does not for sockets and names.

        Raises:
            SocketInUse: somebody listens at the path of a Unix socket.
            OSError: a lock cannot be made, or one of the addresses that a name stands for cannot be bound.
        """
        if address.startswith("unix:"):
            self._claims[address] = SocketClaim(address.removeprefix("unix:").removeprefix("//"))
            return
        host, _, port = address.rpartition(":")
        if host.startswith("[") or port == "0":
            return
        # gRPC is content with one of a name's addresses: localhost would be ::1 where another has 127.0.0.1.
        for family, kind, protocol, _, place in socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM):
            try:
                probe = socket.socket(family, kind, protocol)
            except OSError:
                continue  # a family that this machine does not have
            with probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                if family == socket.AF_INET6:
                    probe.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
                try:
                    probe.bind(place)
                    probe.listen()
                except OSError as error:
                    if error.errno == errno.EADDRINUSE:
                        raise
