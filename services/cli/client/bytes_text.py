"""Text of bytes: as it is where it can be read, in hexadecimal digits otherwise."""

from typing import Any


def readable(content: bytes) -> str | None:
    """The text that bytes are in UTF-8; None where they are none, or some of it cannot be printed."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if text.replace("\n", " ").replace("\t", " ").isprintable() else None


def text_of(content: bytes, width: int | None = None) -> str:
    """Bytes for people, in one line and cut to ``width`` characters where one is given."""
    text = readable(content)
    shown = repr(text) if text is not None else f"0x{content.hex()}"
    return shown if width is None or len(shown) <= width else shown[: width - 3] + "..."


def json_of(name: str, content: bytes, as_hex: bool = False) -> dict[str, Any]:
    """Bytes for programs: ``name`` as text, or else ``name_hex``."""
    text = None if as_hex else readable(content)
    return {f"{name}_hex": content.hex()} if text is None else {name: text}
