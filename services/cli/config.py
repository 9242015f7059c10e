"""``penstock config``: the settings of a node, shown."""

import json
from typing import Any

import click

from services.cli.settings_options import load_settings, settings_options


@click.group()
def config() -> None:
    """Look at a node's settings."""


@config.command()
@settings_options
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def show(as_json: bool, **options: Any) -> None:
    """Print the settings in force, and where each value came from."""
    loaded = load_settings(**options)
    groups = loaded.settings.model_dump(mode="json")
    values = {name: groups[name.split(".")[0]][name.split(".")[1]] for name in loaded.sources}
    if as_json:
        rows = {name: {"value": values[name], "source": source} for name, source in loaded.sources.items()}
        click.echo(json.dumps(rows, indent=2))
        return
    texts = {name: _text(value) for name, value in values.items()}
    name_width, text_width = max(map(len, texts)), max(map(len, texts.values()))
    for name, source in loaded.sources.items():
        click.echo(f"{name:<{name_width}}  {texts[name]:<{text_width}}  {source}")


def _text(value: Any) -> str:
    """Write a value as the command line takes it."""
    if value is None:
        return "none"
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, list) else str(value)
