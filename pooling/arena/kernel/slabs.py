"""Slabs: what holders' magazines are filled from and emptied to, without a lock.

A slot's mark alone says whose it is. To take a free slot is to compare-and-swap its mark from FREE to the taker's; so a
holder that is killed, wherever that may be, leaves marks that name it, and whoever comes to recover finds every one.

**Finding free slots.** Each slot has a bit in its slab, and each slab one among those of its class. A bit that is set
means "look", so it may be wrong; but a slot's bit is never missing. It is set before the mark becomes FREE, and cleared
by nobody but the one who took the slot, while it is theirs. The slab's bit is cleared by whoever found the slab empty,
who then looks once more; a slot's bit is set before its slab's is looked at (all four sequentially consistent, so one
of the two sees the other). Only a holder that stops between clearing and looking hides a slab, which a search of all
slabs finds nevertheless, before the arena says that it is full; one that dies there is put right by recovery.

There are no links, hence no list that a dead holder could leave cut, and no ABA: a mark is unique by its generation.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    Bool,
    Int,
    Words,
    bits_of,
    class_in,
    clear_bits,
    get,
    holder_in,
    lowest_bit,
    magazine_of,
    mark,
    maybe_of,
    next_stamp,
    page_mark_of,
    set_bits,
    slot_mark_of,
    slots_of,
    state_in,
)
from pooling.arena.kernel.pages import NONE, claim_run, release_run
from pooling.arena.kernel.red_zones import poison
from txqueue.jit.atomics import cas, load_acquire, load_seq_cst, store_relaxed, store_release
from txqueue.jit.decorators import inner

_NEW_SLAB = 2
"""The attempt to find slots that cuts a new slab."""


@inner
def find(words: Words, holder: Int, size_class: Int, want: Int) -> Int:
    """Fills an empty magazine with up to ``want`` slots: from slabs that may have some, the one last drawn from first;
    else from a new slab; else from any slab at all.

    Returns:
        Slots that are in it now. The caller counts them in the magazine's tally.
    """
    cursor = get(words, magazine_of(holder, size_class) + layout.CURSOR)
    for attempt in range(4):
        if attempt == _NEW_SLAB:
            count = _cut_new_slab(words, holder, size_class, want)
        else:
            start = cursor & ~63 if attempt == 0 else np.int64(0)
            count = _search(words, holder, size_class, want, start, attempt > _NEW_SLAB)
        if count > 0:
            return count
    return 0


@inner
def _search(words: Words, holder: Int, size_class: Int, want: Int, start: Int, everywhere: Bool) -> Int:
    """Looks at the units from ``start``, a multiple of 64, that have their class's bit set; or at all of them."""
    units = get(words, layout.PAGES_USED) >> 4
    count: Int = np.int64(0)
    for base in range(start, units, 64):
        maybe_at = maybe_of(words, size_class, base)
        maybe = np.int64(-1) if everywhere else np.int64(load_acquire(words, maybe_at))
        while maybe != 0 and count < want:
            unit = base + np.int64(lowest_bit(maybe))
            maybe &= maybe - 1
            if unit >= units:
                break
            count = _take(words, holder, size_class, unit, count, want)
            if _is_empty(words, unit, size_class):
                clear_bits(words, maybe_at, np.int64(1) << (unit & 63))
                if not _is_empty(words, unit, size_class):
                    set_bits(words, maybe_at, np.int64(1) << (unit & 63))
        if count == want:
            break
    return count


@inner
def _is_empty(words: Words, unit: Int, size_class: Int) -> Bool:
    bits = np.int64(0)
    for slot in range(0, slots_of(size_class), 64):
        bits |= np.int64(load_seq_cst(words, bits_of(words, unit, slot)))
    return bool(bits == 0)


@inner
def _take(words: Words, holder: Int, size_class: Int, unit: Int, count: Int, want: Int) -> Int:
    """Takes free slots of a unit into the magazine; none where the unit is no slab of this class (any more)."""
    slots = slots_of(size_class)
    entries = magazine_of(holder, size_class) + layout.ENTRIES
    store_relaxed(words, magazine_of(holder, size_class) + layout.CURSOR, unit)
    for base in range(0, slots, 64):
        bits_at = bits_of(words, unit, base)
        bits = np.int64(load_acquire(words, bits_at))
        taken = np.int64(0)
        while bits != 0 and count < want:
            bit = np.int64(lowest_bit(bits))
            bits &= bits - 1
            if base + bit >= slots:
                break  # a bit of a slab of smaller slots: what would be this class's slot is another unit's
            granule = _granule(unit, base + bit, size_class)
            at = slot_mark_of(words, granule, size_class)
            seen = np.int64(load_acquire(words, at))
            free = state_in(seen) == layout.FREE and class_in(seen) == size_class
            if free and cas(words, at, seen, mark(seen, holder, layout.CACHED)):
                store_relaxed(words, entries + count, (seen & layout.STAMP_MASK) | granule)
                taken |= np.int64(1) << bit
                count += 1
        if taken != 0:
            clear_bits(words, bits_at, taken)
        if count == want:
            break
    return count


@inner
def _granule(unit: Int, slot: Int, size_class: Int) -> Int:
    return unit << layout.UNIT_GRANULES_SHIFT | slot << (size_class - 1)


@inner
def _cut_new_slab(words: Words, holder: Int, size_class: Int, want: Int) -> Int:
    """Makes a slab of a free unit. All of its slots are the holder's first, then those it does not want are given."""
    page = claim_run(words, holder, np.int64(layout.UNIT_PAGES), np.int64(layout.UNIT_PAGES))
    if page == NONE:
        return np.int64(0)
    unit = page // layout.UNIT_PAGES
    stamp = size_class << layout.CLASS_SHIFT
    for slot in range(slots_of(size_class)):
        granule = _granule(unit, slot, size_class)
        at = slot_mark_of(words, granule, size_class)
        fresh = (next_stamp(get(words, at)) & layout.GENERATION_MASK) | stamp
        store_relaxed(words, at, mark(fresh, holder, layout.CACHED))
        if get(words, layout.DEBUG) != 0:
            poison(words, granule, layout.GRANULE_BYTES << (size_class - 1), np.int64(0))
    page_mark = page_mark_of(words, page)
    slab = (get(words, page_mark) & layout.GENERATION_MASK) | stamp | layout.SLAB
    store_release(words, page_mark, slab)

    magazine = magazine_of(holder, size_class)
    store_relaxed(words, magazine + layout.CURSOR, unit)
    count = np.int64(0)
    for slot in range(slots_of(size_class)):
        granule = _granule(unit, slot, size_class)
        entry = (get(words, slot_mark_of(words, granule, size_class)) & layout.STAMP_MASK) | granule
        if count < want:
            store_relaxed(words, magazine + layout.ENTRIES + count, entry)
            count += 1
        else:
            _give_one(words, entry, size_class)
    announce(words, unit, size_class)
    return count


@inner
def _unit_in(handle: Int) -> Int:
    return (handle & layout.LOW_MASK) >> layout.UNIT_GRANULES_SHIFT


@inner
def _slot_in(handle: Int, size_class: Int) -> Int:
    return (handle & (layout.UNIT_GRANULES - 1)) >> (size_class - 1)


@inner
def _bits_at(words: Words, handle: Int, size_class: Int) -> Int:
    return bits_of(words, _unit_in(handle), _slot_in(handle, size_class))


@inner
def _give_one(words: Words, handle: Int, size_class: Int) -> None:
    set_bits(words, _bits_at(words, handle, size_class), np.int64(1) << (_slot_in(handle, size_class) & 63))
    store_release(words, slot_mark_of(words, handle & layout.LOW_MASK, size_class), handle & layout.STAMP_MASK)


@inner
def give(words: Words, holder: Int, size_class: Int, count: Int) -> None:
    """Gives the magazine's first ``count`` slots, the longest unused ones, back to their slabs. The rest moves down.

    The caller counts them out of the tally.
    """
    magazine = magazine_of(holder, size_class)
    entries = magazine + layout.ENTRIES
    index = np.int64(0)
    while index < count:  # slots that share a word of bits mostly stand together
        bits_at = _bits_at(words, get(words, entries + index), size_class)
        bits = np.int64(0)
        end = index
        while end < count and _bits_at(words, get(words, entries + end), size_class) == bits_at:
            bits |= np.int64(1) << (_slot_in(get(words, entries + end), size_class) & 63)
            end += 1
        set_bits(words, bits_at, bits)
        for freed in range(index, end):
            entry = get(words, entries + freed)
            at = slot_mark_of(words, entry & layout.LOW_MASK, size_class)
            store_release(words, at, entry & layout.STAMP_MASK)
        announce(words, _unit_in(get(words, entries + index)), size_class)
        index = end
    for kept in range(count, get(words, magazine) & layout.TALLY_MASK):
        store_relaxed(words, entries + kept - count, get(words, entries + kept))


@inner
def announce(words: Words, unit: Int, size_class: Int) -> None:
    """Says that a slab may have free slots."""
    at = maybe_of(words, size_class, unit)
    bit = np.int64(1) << (unit & 63)
    if np.int64(load_seq_cst(words, at)) & bit == 0:
        set_bits(words, at, bit)


@inner
def return_slots(words: Words, page: Int, holder: Int) -> Int:
    """Frees a dead holder's slots of the slab at ``page``; for the holder's recovery.

    Returns:
        Their number.
    """
    unit = page // layout.UNIT_PAGES
    size_class = class_in(get(words, page_mark_of(words, page)))
    returned = np.int64(0)
    for slot in range(slots_of(size_class)):
        granule = _granule(unit, slot, size_class)
        at = slot_mark_of(words, granule, size_class)
        seen = np.int64(load_acquire(words, at))
        if holder_in(seen) != holder or state_in(seen) == layout.FREE:
            continue
        # Whoever takes it over from the dead at this moment may have it.
        if not cas(words, at, seen, mark(next_stamp(seen), holder, layout.CACHED)):
            continue
        if get(words, layout.DEBUG) != 0:
            poison(words, granule, layout.GRANULE_BYTES << (size_class - 1), np.int64(0))
        _give_one(words, next_stamp(seen) | granule, size_class)
        returned += 1
    if not _is_empty(words, unit, size_class):
        announce(words, unit, size_class)
    return returned


@inner
def retire(words: Words, page: Int, holder: Int) -> Bool:
    """Turns the slab at ``page`` back into free pages, if all of its slots are free."""
    unit = page // layout.UNIT_PAGES
    size_class = class_in(get(words, page_mark_of(words, page)))
    slots = slots_of(size_class)
    taken = 0
    for slot in range(slots):
        at = slot_mark_of(words, _granule(unit, slot, size_class), size_class)
        seen = np.int64(load_acquire(words, at))
        free = state_in(seen) == layout.FREE and class_in(seen) == size_class
        if not free or not cas(words, at, seen, mark(seen, holder, layout.CACHED)):
            break
        taken += 1
    if taken < slots:
        for slot in range(taken):  # their bits were never cleared
            at = slot_mark_of(words, _granule(unit, slot, size_class), size_class)
            store_release(words, at, get(words, at) & layout.STAMP_MASK)
        return False
    for slot in range(0, slots, 64):
        store_release(words, bits_of(words, unit, slot), 0)
    # From here on the slots' marks do not count any more: the pages are the holder's.
    generation = get(words, page_mark_of(words, page)) & layout.GENERATION_MASK
    store_release(words, page_mark_of(words, page), mark(generation, holder, layout.CLAIMED))
    release_run(words, page)
    return True
