"""Written values: the forms in which settings are written, and what the groups of settings share.

In the environment and on the command line a value is text, whatever it stands for.
"""

from typing import Annotated, Any, Final

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict

MIB: Final = 1 << 20
PAGE_BYTES: Final = 4096
NAMESPACE_MAX: Final = 65_535


class Group(BaseModel):
    """Settings that stand under one name; each field is a setting, documented by the text behind it."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True)


def _split_commas(value: Any) -> Any:
    """Take ``a,b`` for a list where only text can be given: in the environment and on the command line."""
    if isinstance(value, int | str) and not isinstance(value, bool):
        return [part.strip() for part in str(value).split(",") if part.strip()]
    if isinstance(value, list):
        return [str(part) if isinstance(part, int) else part for part in value]
    return value


def namespace_range(text: str) -> range:
    """Read a number or a range such as ``0-9``.

    Raises:
        ValueError: it is neither.
    """
    first, separator, last = text.partition("-")
    bounds = [first, last] if separator else [first, first]
    if not all(bound.isascii() and bound.isdigit() for bound in bounds):
        raise ValueError(f"{text!r}: write a number or a range such as 0-9")
    if any(bound != "0" and bound.startswith("0") for bound in bounds):
        raise ValueError(f"{text!r}: write numbers without leading zeros, which make them octal to some")
    low, high = int(bounds[0]), int(bounds[1])
    if low > high or high > NAMESPACE_MAX:
        raise ValueError(f"{text!r}: namespaces are 0 to {NAMESPACE_MAX}, the lower one first")
    return range(low, high + 1)


def _check_power_of_two(number: int) -> int:
    if number & (number - 1):
        raise ValueError(f"must be a power of two, for example {1 << number.bit_length()}")
    return number


def _none_of_text(value: Any) -> Any:
    """Take ``none`` for an absent value where only text can be given."""
    return None if value == "none" else value


POWER_OF_TWO: Final = AfterValidator(_check_power_of_two)
OR_NONE: Final = BeforeValidator(_none_of_text)

TextList = Annotated[tuple[str, ...], BeforeValidator(_split_commas)]
