"""Target: the address of a node, as a client names it and as a node listens on it.

gRPC itself takes almost any text, and finds out by a name look-up or a deadline that it means nothing; a host without a
port means port 443 to it. Here a text is taken or refused at once, by server, clients and tools alike.
"""

import re
import socket
from typing import Final, NamedTuple

DEFAULT_PORT: Final = 50_051
"""A client's port where its target names none."""
DEFAULT_TARGET: Final = f"127.0.0.1:{DEFAULT_PORT}"
PORT_MAX: Final = 65_535
UNIX_PATH_BYTES_MAX: Final = 107
"""What ``sockaddr_un`` holds, less its closing zero byte."""

_SCHEME: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_DNS: Final = re.compile(r"(dns:(?://[^/\s]*/)?)(.*)")
_NO_HOST: Final = re.compile(r"[\s/@?#%,\[\]]")
_NUMBERS: Final = re.compile(r"[0-9.]+")
_NAMED: Final = f"write host:port, for example {DEFAULT_TARGET}, or unix:/path"


class InvalidTarget(ValueError):
    """A text that names no address; the message says what to write instead."""


class Target(NamedTuple):
    """An address of a node."""

    address: str
    """As gRPC takes it, with its port."""
    is_local: bool
    """Whether it is this machine: a Unix socket, or a loopback address."""

    @property
    def place(self) -> tuple[str, int] | str:
        """Host and port, or the path of a Unix socket, as the system's own calls take them."""
        if self.address.startswith("unix:"):
            return self.address.removeprefix("unix:").removeprefix("//")
        found = _DNS.fullmatch(self.address)
        host, _, port = (found[2] if found else self.address).rpartition(":")
        return host.strip("[]"), int(port)

    @property
    def channel_options(self) -> tuple[tuple[str, int], ...]:
        """The options of any gRPC channel to it.

        What is on this machine is never asked for at a proxy. For other targets gRPC's rules hold: ``grpc_proxy``,
        ``https_proxy`` and ``http_proxy``, except for hosts in ``no_grpc_proxy`` and ``no_proxy``.
        """
        return (("grpc.enable_http_proxy", 0),) if self.is_local else ()


def parse_target(text: str) -> Target:
    """The target that a client names.

    Args:
        text: ``host``, ``host:port``, ``[ipv6]``, ``[ipv6]:port``, ``dns:///host:port`` or ``unix:/path``; the port is
            50051 where none is given.

    Raises:
        InvalidTarget: it names no address.
    """
    if not isinstance(text, str):
        raise InvalidTarget(f"a target is a text, not {type(text).__name__}: {_NAMED}")
    if text.startswith("unix:"):
        return _unix(text)
    found = _DNS.fullmatch(text)
    resolver, place = found.groups() if found else ("", text)
    _refuse_scheme(place)
    host, port = _split(place)
    if port is None:
        return Target(f"{resolver}{host}:{DEFAULT_PORT}", _is_loopback(host))
    if port == 0:
        raise InvalidTarget(f"{text!r}: no node is reached at port 0; write the port that it listens on")
    return Target(f"{resolver}{host}:{port}", _is_loopback(host))


def parse_listen_address(text: str) -> Target:
    """The address that a node listens on.

    Args:
        text: ``host:port`` (port 0: any free one), ``[ipv6]:port`` or ``unix:/path``.

    Raises:
        InvalidTarget: it names no address.
    """
    if text.startswith("unix:"):
        return _unix(text)
    _refuse_scheme(text)
    host, port = _split(text)
    if port is None:
        raise InvalidTarget(f"{text!r} names no port: write host:port with a port of 0 to {PORT_MAX}, or unix:/path")
    return Target(f"{host}:{port}", _is_loopback(host))


def status_target(address: str) -> str | None:
    """The address beside a Unix socket at which a node tells its status; None where there is none."""
    beside = f"{address}.status"
    if not address.startswith("unix:") or len(beside.removeprefix("unix:").encode()) > UNIX_PATH_BYTES_MAX:
        return None
    return beside


def _unix(text: str) -> Target:
    path = text.removeprefix("unix:")
    if path.startswith("//"):
        path = path.removeprefix("//")
        if not path.startswith("/"):
            raise InvalidTarget(f"{text!r}: after unix:// the path begins with /; write unix:/path")
    if not path or "\0" in path or len(path.encode()) > UNIX_PATH_BYTES_MAX:
        raise InvalidTarget(
            f"{text!r}: a socket's path takes 1 to {UNIX_PATH_BYTES_MAX} bytes other than 0; use a shorter directory"
        )
    return Target(text, is_local=True)


def _refuse_scheme(text: str) -> None:
    found = _SCHEME.match(text)
    if found is None:
        return
    place = re.split(r"[/?#]", text[found.end() :])[0]
    try:
        host, port = _split(place)
        advice = f"write {host}:{DEFAULT_PORT if port is None else port}"
    except InvalidTarget:
        advice = _NAMED
    encrypted = "; credentials= asks for an encrypted connection" if found[1].lower() in ("https", "grpcs") else ""
    raise InvalidTarget(f"{text!r}: an address has no {found[1]}:// in front; {advice}{encrypted}")


def _split(place: str) -> tuple[str, int | None]:
    """Split ``host`` or ``host:port``, and check both; an IPv6 address keeps its brackets."""
    if place.count(":") > 1 and not place.startswith("["):
        raise InvalidTarget(f"{place!r}: write an IPv6 address in brackets, for example [::1]:{DEFAULT_PORT}")
    if place.startswith("["):
        host, bracket, rest = place.partition("]")
        host += bracket
        if not _is_ipv6(host) or (rest and not rest.startswith(":")):
            raise InvalidTarget(f"{place!r} is no IPv6 address: write it in brackets, for example [::1]:{DEFAULT_PORT}")
        separator, port = rest[:1], rest[1:]
    else:
        host, separator, port = place.partition(":")
        _check_host(host, place)
    if not separator:
        return host, None
    if not (port.isascii() and port.isdigit() and len(port) <= 5 and int(port) <= PORT_MAX):
        raise InvalidTarget(f"{place!r}: write host:port with a port of 0 to {PORT_MAX}, or unix:/path")
    return host, int(port)


def _check_host(host: str, place: str) -> None:
    if not host or _NO_HOST.search(host) or not host.isprintable():
        raise InvalidTarget(f"{place!r} names no host: {_NAMED}")
    if _NUMBERS.fullmatch(host) and not _is_ipv4(host):
        raise InvalidTarget(f"{place!r} names no host, as {host} is no IPv4 address: {_NAMED}")


def _is_loopback(host: str) -> bool:
    """Whether a checked host is this machine by its name or number alone; nothing is looked up."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    if host.startswith("["):
        number = socket.inet_pton(socket.AF_INET6, host[1:-1].partition("%")[0])
        mapped = number[:12] == bytes(10) + b"\xff\xff"
        return number in (bytes(16), bytes(15) + b"\x01") or (mapped and number[12] == 127)
    return host == "0.0.0.0" or (_is_ipv4(host) and host.startswith("127."))  # noqa: S104 - compared, not bound


def _is_ipv4(host: str) -> bool:
    return _is_number(socket.AF_INET, host)


def _is_ipv6(host: str) -> bool:
    return host.endswith("]") and _is_number(socket.AF_INET6, host[1:-1].partition("%")[0])


def _is_number(family: int, text: str) -> bool:
    try:
        socket.inet_pton(family, text)
    except (OSError, ValueError):
        return False
    return True
