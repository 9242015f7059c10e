"""A key that stands twice is an error, where YAML loaders drop the first without a word."""

import pytest

from services.settings.strict_yaml import InvalidYaml, parse


def test_a_document_is_parsed_to_plain_values() -> None:
    assert parse("log: {sync_mode: none, sync_interval_ms: 5}\nnode:\n  name: a\n") == {
        "log": {"sync_mode": "none", "sync_interval_ms": 5},
        "node": {"name": "a"},
    }
    assert parse("") is None


@pytest.mark.parametrize("text", ["a: 1\na: 2", "g: {a: 1, b: 2, a: 3}", "- {a: 1, a: 1}"])
def test_a_key_that_stands_twice_is_refused_with_its_place(text: str) -> None:
    with pytest.raises(InvalidYaml, match=r"'a' stands here and once more(.|\n)*line"):
        parse(text)


@pytest.mark.parametrize("text", ["a: [", "!!python/object/apply:os.getcwd []"])
def test_what_is_no_plain_yaml_is_refused(text: str) -> None:
    with pytest.raises(InvalidYaml):
        parse(text)
