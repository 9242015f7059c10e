"""``penstock status``: how a node is doing."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from penstock.contract.target import status_target
from services.cli.client.call import NO, NotTaken, call, node_call

if TYPE_CHECKING:
    from google.protobuf.message import Message

    from penstock.v1.node_pb2 import GetStatusResponse


@click.command()
@node_call
@click.option("--digest", is_flag=True, help="Also the digest of the whole state, which takes time.")
def status(target: str, timeout_s: float, as_json: bool, digest: bool) -> None:
    """Show how a node is doing.

    The exit code is 0 where it serves.
    """
    found = _status_beside(target, timeout_s) if not digest else None
    if found is None:
        found = call(target, timeout_s, lambda client: client.status(with_state_digest=digest))
    if as_json:
        click.echo(json.dumps(_fields(found)))
    else:
        _print(found, digest)
    if found.condition != "serving":
        raise click.exceptions.Exit(NO)


def _status_beside(target: str, timeout_s: float) -> "GetStatusResponse | None":
    """Ask at the address beside a Unix socket, which answers however busy the node is; None where nothing does."""
    beside = status_target(target)
    if beside is None or not Path(beside.removeprefix("unix:").removeprefix("//")).is_socket():
        return None
    try:
        return call(beside, timeout_s / 2, lambda client: client.status())
    except NotTaken:
        return None


def _fields(message: "Message") -> dict[str, Any]:
    """Every field of a message; digests in hexadecimal digits, as other programs' numbers do not hold 64 bits."""
    fields = {field.name: _value(getattr(message, field.name)) for field in message.DESCRIPTOR.fields}
    return {name: f"{value:016x}" if name.endswith("_digest") else value for name, value in fields.items()}


def _value(value: Any) -> Any:
    if isinstance(value, int | float | str):
        return value
    return _fields(value) if hasattr(value, "DESCRIPTOR") else [_value(item) for item in value]


def _print(status: "GetStatusResponse", digest: bool) -> None:
    started = datetime.fromtimestamp(status.started_unix_nano / 1e9, UTC)
    replicas = f"{status.replicas} {'copy' if status.replicas == 1 else 'copies'} of the log"
    rows = {
        "condition": status.condition,
        "version": status.version,
        "cluster": f"{status.cluster_id}, epoch {status.epoch}",
        "started": f"{started:%Y-%m-%d %H:%M:%S} UTC",
        "durability": f"{status.durability}, {replicas}",
        "blocks": f"{status.sealed_index:,} sealed, {status.durable_index:,} durable, {status.applied_index:,} applied",
        "transactions": f"{status.applied_transactions:,}",
        "effects": f"{status.effects_digest:016x}",
        "memory": f"{status.resident_bytes / 1e6:,.0f} MB resident, {status.mapped_bytes / 1e6:,.0f} MB of it mapped",
    }
    if digest:
        rows["state"] = f"{status.state_digest:016x}"
    for name, text in rows.items():
        click.echo(f"{name:<13} {text}")
    click.echo(f"\n{'phase':<13} {'transactions':>16} {'now, per s':>13} {'target':>13}")
    for phase in status.phases:
        paces = f"{phase.achieved_tps:>13,.0f} {phase.target_tps:>13,.0f}"
        click.echo(f"{phase.name:<13} {phase.transactions:>16,} {paces}")
