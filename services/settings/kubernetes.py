"""Variables that Kubernetes sets in every pod, which are nobody's settings.

For each service of the namespace it sets ``<SERVICE>_SERVICE_HOST``, ``<SERVICE>_SERVICE_PORT``, the latter once more
for each named port, and what Docker's links once set: ``<SERVICE>_PORT`` and ``<SERVICE>_PORT_<number>_<protocol>``,
with and without ``_PROTO``, ``_PORT`` and ``_ADDR``. A service whose name begins with penstock gives variables that
begin as ours.
Source: Kubernetes documentation, "Service", environment variables.
"""

import ipaddress
import re
from collections.abc import Callable
from typing import Final

_PROTOCOL: Final = "(TCP|UDP|SCTP)"
_URL: Final = re.compile(r"(tcp|udp|sctp)://(\[[0-9a-f:.]+\]|[0-9.]+):[0-9]+")
_NUMBER: Final = re.compile("[0-9]+")

_FORMS: Final[tuple[tuple[str, Callable[[str], bool]], ...]] = (
    (rf"_PORT(_[0-9]+_{_PROTOCOL})?", lambda value: bool(_URL.fullmatch(value))),
    (rf"_PORT_[0-9]+_{_PROTOCOL}_PROTO", lambda value: value in ("tcp", "udp", "sctp")),
    (rf"_(SERVICE_PORT(_.+)?|PORT_[0-9]+_{_PROTOCOL}_PORT)", lambda value: bool(_NUMBER.fullmatch(value))),
    (rf"_(SERVICE_HOST|PORT_[0-9]+_{_PROTOCOL}_ADDR)", lambda value: _is_number_of_host(value)),
)


def is_service_variable(name: str, value: str) -> bool:
    """Whether Kubernetes sets such a variable to such a value; one that only looks so is somebody's mistake."""
    return any(re.fullmatch(f".+{ending}", name) and fits(value) for ending, fits in _FORMS)


def _is_number_of_host(value: str) -> bool:
    try:
        ipaddress.ip_address(value)
    except ValueError:
        return False
    return True
