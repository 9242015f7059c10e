"""Metadata of a node's log: the file ``cluster``, read independently of the node's own code."""

import json
from pathlib import Path

from loadtest.verify.log_parser import LogUnreadable
from loadtest.verify.session_ledger import SessionBounds


def first_bounds(directory: Path) -> SessionBounds:
    """Return the bounds on sessions that a log began with; the defaults where it names none.

    Raises:
        LogUnreadable: the file cannot be read or understood.
    """
    path = directory / "cluster"
    try:
        kept = json.loads(path.read_text()).get("parameters")
        if not kept:
            return SessionBounds()
        return SessionBounds(*(int(kept[f"session.{name}"]) for name in ("capacity", "horizon_ns", "page_capacity")))
    except FileNotFoundError:
        return SessionBounds()
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise LogUnreadable(f"{path}: the bounds on sessions cannot be read ({error!r})") from error
