"""Target option: ``--target`` of every command that calls a node, checked before anything else is done."""

import click

from penstock.contract.target import DEFAULT_TARGET, InvalidTarget, parse_target


def _checked(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    try:
        return parse_target(value).address
    except InvalidTarget as error:
        raise click.BadParameter(str(error)) from None


target_option = click.option(
    "--target",
    default=DEFAULT_TARGET,
    show_default=True,
    envvar="PENSTOCK_TARGET",
    callback=_checked,
    help="The node: host, host:port or unix:/path. Also $PENSTOCK_TARGET.",
)
"""Gives a command the parameter ``target``: an address as gRPC takes it."""
