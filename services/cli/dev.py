"""``penstock dev``: a node for trying things out, whose log goes with it."""

from typing import TYPE_CHECKING, Any, Final

import click

from services.cli.serve import RunNode, run_node
from services.cli.settings_options import load_settings, settings_options

if TYPE_CHECKING:
    from services.settings.model import NodeSettings

_BANNER: Final = """
A node for trying things out serves at {address}.
  data     {data}
  metrics  {metrics}
  end      Ctrl-C

Try it in another terminal:
  {export}penstock put greeting hello && penstock get greeting

or in Python:
  import penstock

  with penstock.Client("{address}") as client:
      client.submit(penstock.OpenAccount(1, overdraft=True))
      client.submit(penstock.OpenAccount(2))
      print(client.transfer(debit=1, credit=2, amount=100))
      print(client.get_account(2).amount)
"""


@click.command()
@settings_options
@click.pass_obj
def dev(run: RunNode | None, /, **options: Any) -> None:
    """Run a node for trying things out: its log is removed at the end.

    A directory that is named (--data-dir, a file, the environment) is kept.
    """
    from tempfile import TemporaryDirectory

    from services.settings.layers import DEFAULT, Given

    loaded = load_settings(**options)
    if loaded.sources["node.data_dir"] != DEFAULT:
        run_node(loaded.settings, run or _run_with_banner(kept=True))
    with TemporaryDirectory(prefix="penstock-dev-") as directory:
        settings = load_settings(**options, extra={"node.data_dir": Given(directory, "penstock dev")}).settings
        run_node(settings, run or _run_with_banner(kept=False))


def banner(settings: "NodeSettings", addresses: list[str], *, kept: bool) -> str:
    """Tell where a node's data, its metrics and its end are, and how to try it."""
    telemetry = settings.telemetry
    place = f"{telemetry.prometheus_host}:{telemetry.prometheus_port}"
    if not telemetry.prometheus:
        metrics = f"none; --set telemetry.prometheus=true serves them at\n           http://{place}/metrics"
    elif telemetry.prometheus_port == 0:
        metrics = f"at a free port of {telemetry.prometheus_host}; telemetry.prometheus_port names one"
    else:
        metrics = f"http://{place}/metrics"
    address = addresses[0]
    data = f"{settings.node.data_dir.absolute()}, {'kept' if kept else 'removed'} at the end"
    export = "" if address == "127.0.0.1:50051" else f"export PENSTOCK_TARGET={address}\n  "
    return _BANNER.format(address=address, data=data, metrics=metrics, export=export)


def _run_with_banner(*, kept: bool) -> RunNode:
    async def run(settings: "NodeSettings") -> int:
        from services import node_process

        return await node_process.run(
            settings, on_serving=lambda addresses: click.echo(banner(settings, addresses, kept=kept))
        )

    return run
