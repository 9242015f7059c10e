"""Strict YAML: a safe loader that refuses what YAML takes for something else than its author may have meant.

A key that stands twice, of which other loaders drop the first without a word; and what YAML 1.1 reads in ways of its
own: ``010`` as eight, ``1:30`` as ninety, ``1_000`` and ``0x10`` as numbers, ``no`` as false, ``2026-01-02`` as a date.
Numbers are decimal, truth is ``true`` or ``false``, and everything else of these stands in quotes.
"""

import re
from typing import Any, Final

import yaml

InvalidYaml = yaml.YAMLError
"""The text is not YAML, has a key twice, or a value that can be read in two ways."""

_TAG: Final = "tag:yaml.org,2002:"
_INT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)")
_FLOAT: Final = re.compile(r"[-+]?(0|[1-9][0-9]*)\.[0-9]+([eE][-+][0-9]+)?")
_BOOL: Final = re.compile(r"true|false", re.IGNORECASE)
_LEADING_ZERO: Final = re.compile(r"[-+]?0[0-9_]+$")
"""Of these YAML 1.1 takes those with an 8 or a 9 for text, which would become a number later."""


class _StrictLoader(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value]
        for key, _ in node.value:
            if keys.count(key.value) > 1:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{key.value!r} stands here and once more in the same group", key.start_mark
                )
        return super().construct_mapping(node, deep)

    def construct_int(self, node: yaml.ScalarNode) -> int:
        _check(node, _INT, "a number in decimal without leading zeros")
        return int(node.value)

    def construct_float(self, node: yaml.ScalarNode) -> float:
        _check(node, _FLOAT, "a number in decimal such as 0.5")
        return float(node.value)

    def construct_bool(self, node: yaml.ScalarNode) -> bool:
        _check(node, _BOOL, "true or false")
        return bool(node.value.lower() == "true")

    def refuse_date(self, node: yaml.ScalarNode) -> None:
        raise _ambiguous(node, "no date, as no setting is one")


def _check(node: yaml.ScalarNode, form: re.Pattern[str], wanted: str) -> None:
    if not form.fullmatch(node.value):
        raise _ambiguous(node, wanted)


def _ambiguous(node: yaml.ScalarNode, wanted: str) -> Exception:
    return yaml.constructor.ConstructorError(
        None, None, f"{node.value!r} can be read in two ways: write {wanted}, or put text in quotes", node.start_mark
    )


_StrictLoader.add_constructor(f"{_TAG}int", _StrictLoader.construct_int)
_StrictLoader.add_constructor(f"{_TAG}float", _StrictLoader.construct_float)
_StrictLoader.add_constructor(f"{_TAG}bool", _StrictLoader.construct_bool)
_StrictLoader.add_constructor(f"{_TAG}timestamp", _StrictLoader.refuse_date)
_StrictLoader.add_implicit_resolver(f"{_TAG}int", _LEADING_ZERO, list("-+0"))


def parse(text: str) -> Any:
    """Parse one YAML document; an empty one is None.

    Raises:
        InvalidYaml: the text is not YAML, has a key twice, or a value that can be read in two ways.
    """
    return yaml.load(text, _StrictLoader)  # noqa: S506 - it is a SafeLoader
