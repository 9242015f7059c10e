"""Layers of settings: defaults, YAML files, the environment, the command line; later ones override earlier ones.

A layer is a flat mapping of ``group.name`` to a value and where it was given, so that merging is one dict over another
and every value, in force or at fault, can be traced to the place where somebody wrote it.
"""

import difflib
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from pydantic import ValidationError

from services.settings.kubernetes import is_service_variable
from services.settings.model import NodeSettings, setting_names

DEFAULT: Final = "default"

_ENVIRONMENT_PREFIX: Final = "PENSTOCK_"

_NOT_SETTINGS: Final = ("PENSTOCK_CONFIG", "PENSTOCK_TARGET")
"""They name files to read, and the node that commands call."""

_log = logging.getLogger(__name__)


class ConfigurationError(Exception):
    """Settings that cannot be used; each of ``problems`` says what is wrong, where, and what would be right."""

    def __init__(self, problems: Sequence[str]) -> None:
        assert problems
        self.problems = list(problems)
        super().__init__("\n".join(problems))


class Given(NamedTuple):
    """A value that was given, and where."""

    value: Any
    source: str


Layer = Mapping[str, Given]


class LoadedSettings(NamedTuple):
    """The settings in force, and where each came from."""

    settings: NodeSettings
    sources: dict[str, str]
    """From ``group.name``, all of them in the order in which they are shown."""


def load(files: Sequence[Path] = (), command_line: Layer | None = None) -> LoadedSettings:
    """Merge all layers and validate the outcome.

    Args:
        files: YAML files; later ones override earlier ones.
        command_line: overrides all others.

    Raises:
        ConfigurationError: a file cannot be read, a name is unknown or a value is out of its range; tells all at once.
    """
    given: dict[str, Given] = {}
    for layer in (*map(file_layer, files), environment_layer(), command_line or {}):
        given |= layer
    problems = _unknown_names(given) + _empty_values(given)
    if problems:
        raise ConfigurationError(problems)
    groups: dict[str, dict[str, Any]] = {}
    for setting, (value, _) in given.items():
        group, name = setting.split(".")
        groups.setdefault(group, {})[name] = value
    try:
        settings = NodeSettings(**groups)  # type: ignore[arg-type]  # its validation makes groups of mappings
    except ValidationError as error:
        raise ConfigurationError([_explain(details, given) for details in error.errors()]) from None
    return LoadedSettings(
        settings, {name: given[name].source if name in given else DEFAULT for name in setting_names()}
    )


def file_layer(path: Path) -> Layer:
    """Read a YAML file of groups and their settings.

    Raises:
        ConfigurationError: the file cannot be read, or is something else.
    """
    from services.settings.strict_yaml import InvalidYaml, parse

    try:
        tree = parse(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigurationError([f"{path}: cannot be read: {error.strerror}"]) from None
    except (InvalidYaml, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{path}: is not YAML: {error}"]) from None
    return _flatten({} if tree is None else tree, str(path))


def environment_layer() -> Layer:
    """Read ``PENSTOCK_<GROUP>_<NAME>``, in any case, from the process's environment.

    Raises:
        ConfigurationError: a variable with the prefix names no setting.
    """
    settings = {_ENVIRONMENT_PREFIX + name.replace(".", "_", 1).upper(): name for name in setting_names()}
    layer: dict[str, Given] = {}
    problems = []
    for variable, value in os.environ.items():
        name = variable.upper()
        if not name.startswith(_ENVIRONMENT_PREFIX) or name in _NOT_SETTINGS:
            continue
        if is_service_variable(name, value):
            _log.debug("%s=%s is taken for a variable that Kubernetes sets, and passed over", variable, value)
            continue
        if name in settings:
            layer[settings[name]] = Given(value, f"environment {name}")
        else:
            problems.append(f"{variable} (environment): no such setting; {_nearest(name, settings)}")
    if problems:
        raise ConfigurationError(problems)
    return layer


def _flatten(tree: Any, source: str) -> dict[str, Given]:
    if not isinstance(tree, dict):
        raise ConfigurationError([f"{source}: expected groups of settings, for example 'log:' with 'sync_mode: block'"])
    layer: dict[str, Given] = {}
    for group, settings in tree.items():
        if settings is None:
            continue
        if not isinstance(settings, dict):
            known = ", ".join(NodeSettings.model_fields)
            raise ConfigurationError([f"{group} ({source}): expected a group of settings; the groups are {known}"])
        layer |= {f"{group}.{name}": Given(value, source) for name, value in settings.items()}
    return layer


def _unknown_names(layer: Layer) -> list[str]:
    known = setting_names()
    return [
        f"{name} ({source}): no such setting; {_nearest(name, known)}"
        for name, (_, source) in layer.items()
        if name not in known
    ]


def _empty_values(layer: Layer) -> list[str]:
    return [
        f"{name} ({source}): is empty; give a value, or leave it out altogether for the default"
        for name, (value, source) in layer.items()
        if isinstance(value, str) and not value.strip()
    ]


def _nearest(name: str, known: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(known), n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else "`penstock config show` lists all"


def _explain(details: Any, given: Layer) -> str:
    place = ".".join(str(part) for part in details["loc"][:2])
    reason = details["msg"].removeprefix("Value error, ")
    if place not in given:
        return str(reason)
    return f"{place} = {given[place].value!r} ({given[place].source}): {reason}"
