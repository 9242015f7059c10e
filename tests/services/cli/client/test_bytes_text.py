import pytest

from services.cli.client.bytes_text import json_of, readable, text_of


@pytest.mark.parametrize(
    ("content", "text"),
    [(b"", ""), (b"order/7", "order/7"), ("müß".encode(), "müß"), (b"a\nb", "a\nb"), (b"\xff", None), (b"\x00a", None)],
)
def test_bytes_are_read_as_text_where_all_of_it_can_be_printed(content: bytes, text: str | None) -> None:
    assert readable(content) == text
    assert json_of("key", content) == ({"key_hex": content.hex()} if text is None else {"key": text})
    assert json_of("key", content, as_hex=True) == {"key_hex": content.hex()}


def test_bytes_stay_in_one_line_of_the_width_asked_for() -> None:
    assert text_of(b"a\nb") == r"'a\nb'"
    assert text_of(b"\xff\x00") == "0xff00"
    assert text_of(b"x" * 100, 20) == "'" + "x" * 16 + "..."
    assert text_of(b"x" * 18, 20) == "'" + "x" * 18 + "'"
