"""Open-addressing index from a hash to the word offset of what has it: of sessions, and of their pages of results.

A slot is two words: the hash, whose low bits are its home, and the offset; 0: empty. A search ends at the first empty
slot. Removal moves later slots back over the gap (Knuth, The Art of Computer Programming, vol. 3, 6.4, algorithm R), so
that no mark of what was removed stays behind and searches never grow longer than the live slots make them.
"""

from statestore.kernel.layout import ONE, ZERO
from txqueue.jit.debug_build import UNCHECKED
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U64, Words

OFFSET = ONE
"""Word of a slot."""


@inner
def home_slot(table: U64, mask: U64, hashed: U64) -> U64:
    """The slot where a search for a hash begins; `mask` is the number of slots - 1."""
    return table + ((hashed & mask) << ONE)


@inner
def next_slot(table: U64, mask: U64, slot: U64) -> U64:
    """The slot behind another one; the first one is behind the last."""
    return table + ((((slot - table) >> ONE) + ONE & mask) << ONE)


@inner
def insert_slot(words: Words, table: U64, mask: U64, hashed: U64, offset: U64) -> None:
    """Enters an offset that is not there yet."""
    slot = home_slot(table, mask, hashed)
    while words[slot + OFFSET] != ZERO:
        slot = next_slot(table, mask, slot)
        assert UNCHECKED or slot != home_slot(table, mask, hashed), "an index is full"
    words[slot] = hashed
    words[slot + OFFSET] = offset


@inner
def slot_with(words: Words, table: U64, mask: U64, hashed: U64, offset: U64) -> U64:
    """The slot of an offset that is there."""
    slot = home_slot(table, mask, hashed)
    while words[slot + OFFSET] != offset:
        assert UNCHECKED or words[slot + OFFSET] != ZERO, "what is to be removed is not in its index"
        slot = next_slot(table, mask, slot)
    return slot


@inner
def remove_slot(words: Words, table: U64, mask: U64, hashed: U64, offset: U64) -> None:
    """Removes an offset that is there."""
    gap = slot_with(words, table, mask, hashed, offset)
    slot = next_slot(table, mask, gap)
    while words[slot + OFFSET] != ZERO:
        place = (slot - table) >> ONE
        home = words[slot] & mask
        # It may move back to the gap unless its home lies behind the gap, up to where it stands.
        if (place - home) & mask >= (place - ((gap - table) >> ONE)) & mask:
            words[gap] = words[slot]
            words[gap + OFFSET] = words[slot + OFFSET]
            gap = slot
        slot = next_slot(table, mask, slot)
    words[gap + OFFSET] = ZERO
