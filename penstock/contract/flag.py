"""Flag bits of a record. They are those of ``record.proto``; a test holds the two together."""

from typing import Final

LINKED: Final = 1
OVERDRAFT: Final = 2
FLOOR: Final = 4
