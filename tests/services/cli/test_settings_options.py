"""Options name settings; each of them says so where its value is at fault."""

from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from services.cli.settings_options import load_settings, settings_options
from services.settings.layers import Given


def load(**options: Any) -> Any:
    none: dict[str, Any] = {"files": (), "assignments": (), "data_dir": None, "listen": (), "sync_mode": None}
    return load_settings(**none | options)


def test_each_option_names_its_setting(tmp_path: Path) -> None:
    loaded = load(data_dir=str(tmp_path), listen=("a:1", "b:2"), sync_mode="none", assignments=("queue.slots = 512",))
    assert loaded.settings.node.data_dir == tmp_path
    assert loaded.settings.listen.addresses == ("a:1", "b:2")
    assert loaded.settings.log.sync_mode == "none"
    assert loaded.settings.queue.slots == 512
    assert loaded.sources["listen.addresses"] == "command line --listen"


def test_what_is_named_overrides_what_a_command_presumes() -> None:
    presumed = {"node.data_dir": Given("/presumed", "a command")}
    assert load(extra=presumed).sources["node.data_dir"] == "a command"
    assert load(extra=presumed, data_dir="/named").settings.node.data_dir == Path("/named")


@pytest.mark.parametrize("assignment", ["queue.slots", "queue.slots=3", "queue.slotz=512"])
def test_settings_that_cannot_be_used_are_a_mistake_of_usage(assignment: str) -> None:
    with pytest.raises(click.UsageError, match=r"queue\.slot"):
        load(assignments=(assignment,))


def test_a_command_has_all_options() -> None:
    @click.command()
    @settings_options
    def command(**options: Any) -> None:
        click.echo(load_settings(**options).settings.node.name)

    result = CliRunner().invoke(command, ["--set", "node.name=a", "--sync-mode", "none"])
    assert (result.exit_code, result.output) == (0, "a\n")
