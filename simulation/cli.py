"""The command ``penstock simulate``.

Everything but click is imported when the command runs, so that a mistyped option is answered at once.
"""

import json

import click


@click.command()
@click.option("--schedules", default=100, show_default=True, type=click.IntRange(min=1), help="How many, that count.")
@click.option("--seed", default=1, show_default=True, help="Of the first; the others have those behind it.")
@click.option("--processes", default=0, help="At once; by default as many as there are processors.")
@click.option("--replay", type=int, metavar="SEED", help="Only this one; where it breaks a promise, make it smaller.")
@click.option("--variants", is_flag=True, help="Break each rule on purpose; say how many schedules it takes to notice.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as JSON.")
def simulate(schedules: int, seed: int, processes: int, replay: int | None, variants: bool, as_json: bool) -> None:
    """Run whole clusters under faults in virtual time, and check at every step what a cluster promises."""
    if variants:
        _hunt(schedules, seed, as_json=as_json)
        return
    if replay is not None:
        _replay(replay, as_json=as_json)
        return
    from simulation.campaign import Report, run_campaign

    def tell(report: Report) -> None:
        if report.failures and report.failures[-1].seed == report.last_seed:
            click.echo(f"seed {report.last_seed}: {report.failures[-1].violation}", err=True)
        done = report.schedules + report.too_easy
        if done % 100 == 0:
            click.echo(f"{done} schedules, {report.steps} steps, {len(report.failures)} violations", err=True)

    report = run_campaign(schedules, seed, processes=processes, tell=tell)
    figures = report.as_dict()
    if as_json:
        click.echo(json.dumps(figures, indent=2))
    else:
        for name, figure in figures.items():
            if name not in ("faults", "failures"):
                click.echo(f"{name.replace('_', ' '):20} {figure:>12,}")
        for name, count in figures["faults"].items():
            click.echo(f"  {name.replace('_', ' '):22} {count:>8,}")
    if report.failures:
        raise click.ClickException(
            f"{len(report.failures)} schedules broke a promise: penstock simulate --replay {report.failures[0].seed}"
        )


def _replay(seed: int, *, as_json: bool) -> None:
    from simulation.campaign import run_seed, scratch
    from simulation.minimise import minimise
    from simulation.schedule import Outcome, Schedule, run_schedule

    outcome = run_seed(seed)
    if outcome.violation is None or outcome.rule is None:
        figures = {"seed": seed, "violation": None, "steps": outcome.steps, "blocks": outcome.blocks}
        click.echo(json.dumps(figures) if as_json else f"seed {seed}: no promise broken in {outcome.steps} steps")
        return

    def run(schedule: Schedule) -> Outcome:
        with scratch() as directory:
            return run_schedule(schedule, directory / "disks")

    smaller = minimise(Schedule.from_seed(seed), outcome.rule, run)
    faults = [{**fault._asdict(), "kind": fault.kind.value} for fault in smaller.faults]
    if as_json:
        click.echo(json.dumps({"seed": seed, "violation": outcome.violation, "faults": faults}, indent=2))
    else:
        click.echo(f"seed {seed}: {outcome.violation}\nThese faults are enough:")
        for fault in smaller.faults:
            click.echo(
                f"  at {fault.at_ns / 1e6:.0f} ms for {fault.duration_ns / 1e6:.0f} ms: {fault.kind.value}, "
                f"node {fault.node or 'that leads'}, peer {fault.peer}, amount {fault.amount}"
            )
    raise click.ClickException(f"seed {seed} broke a promise")


def _hunt(schedules_max: int, seed: int, *, as_json: bool) -> None:
    from simulation.variants.hunt import VARIANTS, hunt

    catches = [hunt(variant, schedules_max, seed) for variant in VARIANTS]
    if as_json:
        rows = [
            {
                "variant": catch.variant.name,
                "rule": catch.variant.rule,
                "schedules": catch.schedules,
                "violation": catch.outcome.violation if catch.outcome else None,
            }
            for catch in catches
        ]
        click.echo(json.dumps(rows, indent=2))
    else:
        for catch in catches:
            found = catch.outcome.violation if catch.outcome else "not noticed"
            click.echo(f"{catch.variant.name:44} {catch.schedules:>6}  {found}")
    missed = [catch.variant.name for catch in catches if catch.outcome is None]
    if missed:
        raise click.ClickException(f"not noticed in {schedules_max} schedules: {', '.join(missed)}")
