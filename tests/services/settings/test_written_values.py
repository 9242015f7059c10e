"""What is written in a file, a variable or an option means the same everywhere, or is refused with the right form."""

from typing import Annotated, Any

import pytest
from pydantic import ValidationError

from services.settings.written_values import OR_NONE, POWER_OF_TWO, Group, TextList, namespace_range


class Written(Group):
    """One setting of each form."""

    names: TextList = ()
    size: Annotated[int, POWER_OF_TWO] = 1
    place: Annotated[str | None, OR_NONE] = "here"


@pytest.mark.parametrize("names", ["a, b,", ["a", "b"], ("a", "b")])
def test_a_list_is_written_as_a_list_or_with_commas(names: Any) -> None:
    assert Written(names=names).names == ("a", "b")


@pytest.mark.parametrize("names", [7, "7", [7]])
def test_a_number_in_a_list_is_its_text(names: Any) -> None:
    assert Written(names=names).names == ("7",)


@pytest.mark.parametrize(("place", "means"), [("none", None), (None, None), ("there", "there")])
def test_none_is_written_where_only_text_can_be_given(place: str | None, means: str | None) -> None:
    assert Written(place=place).place == means


def test_a_number_that_is_no_power_of_two_is_refused_with_the_next_one() -> None:
    with pytest.raises(ValidationError, match="for example 4096"):
        Written(size=4000)


def test_an_unknown_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="nmaes"):
        Written.model_validate({"nmaes": "a"})


@pytest.mark.parametrize(("text", "numbers"), [("0", range(1)), ("3-5", range(3, 6)), ("65535", range(65_535, 65_536))])
def test_namespaces_are_numbers_and_ranges(text: str, numbers: range) -> None:
    assert namespace_range(text) == numbers


@pytest.mark.parametrize("text", ["", "-1", "1-", "5-3", "65536", "010", "٣", "a"])
def test_what_is_no_range_of_namespaces_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write|namespaces are"):
        namespace_range(text)
