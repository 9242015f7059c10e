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


@pytest.mark.parametrize(
    "value",
    [
        "010", "08", "00", "-010", "0x10", "0b11", "1_000", "1:30", "190:20:30", "yes", "No", "on", "OFF", "2026-01-02",
        "2026-01-02 03:04:05", ".inf", "-.INF", ".nan", "1_0.5", "01.5", "1:30.5", "!!int '010'", "!!bool 'yes'",
    ],
)  # fmt: skip
def test_what_can_be_read_in_two_ways_is_refused_with_its_place(value: str) -> None:
    with pytest.raises(InvalidYaml, match=r"can be read in two ways(.|\n)*line"):
        parse(f"a: {value}")


def test_what_can_be_read_in_one_way_is_taken() -> None:
    read = parse("[0, 10, -5, +7, 0.5, 12.25, 1.5e+3, true, False, null, '010', 'yes', '1:30', 8MiB, 0-9, '[::1]:1']")
    assert read == [0, 10, -5, 7, 0.5, 12.25, 1500, True, False, None, "010", "yes", "1:30", "8MiB", "0-9", "[::1]:1"]
