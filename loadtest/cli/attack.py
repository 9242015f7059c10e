"""The command ``penstock attack``.

Everything but click is imported when the command runs, so that a mistyped option is answered at once.
"""

import json
from pathlib import Path

import click


@click.command()
@click.option("--minutes", default=5.0, show_default=True, help="How long, over all phases.")
@click.option("--seed", default=1, show_default=True, help="The same seed makes the same attacks.")
@click.option("--only", multiple=True, metavar="PHASE", help="Only this phase; may be given again.")
@click.option("--p99-ms", default=2000.0, show_default=True, help="Bound of the honest client's latency, no outage.")
@click.option("--memory-mib", default=1536, show_default=True, help="Bound of the node's resident memory.")
@click.option(
    "--directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("build/attack"),
    show_default=True,
    help="Of the node's data; made, and removed at the end.",
)
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def attack(
    minutes: float, seed: int, only: tuple[str, ...], p99_ms: float, memory_mib: int, directory: Path, as_json: bool
) -> None:
    """Attack a node in every way known, beside one honest client; no harm may come to that."""
    from rich.console import Console

    from loadtest.attack.attack_report import attack_tables
    from loadtest.attack.phases import PHASES
    from loadtest.attack.run_attack import AttackPlan, run_attack
    from loadtest.environment import describe_environment
    from loadtest.node.node_process import NodeFailed

    names = [phase.name for phase in PHASES]
    for name in only:
        if name not in names:
            raise click.BadParameter(f"{name!r} is none of {', '.join(names)}", param_hint="--only")
    plan = AttackPlan(minutes * 60, directory, seed, p99_ms, memory_mib, only)
    try:
        findings = run_attack(plan, lambda line: click.echo(line, err=True))
    except NodeFailed as error:
        raise click.ClickException(str(error)) from None
    figures = {**findings.as_dict(), "minutes": minutes, "seed": seed, "conditions": describe_environment()}
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        Console().print(*attack_tables(figures))
    if not figures["harmless"]:
        raise click.ClickException(f"the honest client was harmed {sum(figures['harm'].values())} times")
