"""Slabs, from which magazines are filled and to which they are flushed, without a lock.

A slot's mark alone says whose it is. To take a free slot is to compare-and-swap its mark from FREE to the taker's; so a
holder that is killed, wherever that may be, leaves marks that name it, and recovery finds every one.

**Finding free slots.** Each slot has a *free bit*, and each slab a *candidate bit* among those of its class. A bit that
is set only says where to look, so it may be wrong; but a free slot's bit is never missing. It is set before the mark
becomes FREE, and cleared by nobody but the holder that took the slot, while the slot is its own. The candidate bit is
cleared by a holder that found no free bit in the slab and then looks for one once more; a returner sets the free bit
before it looks at the candidate bit. All four are sequentially consistent, so one of the two sees the other. Only a
holder that stops between clearing and looking hides a slab. A search of all slabs finds it nevertheless, before the
arena says that it is full; and where that holder dies, recovery sets the bit again.

There are no links, hence no list that a dead holder could leave broken, and no ABA: the generation makes a mark unique.
"""

import numpy as np

from pooling.arena.kernel import layout
from pooling.arena.kernel.addressing import (
    candidates_of,
    class_in,
    clear_bits,
    free_bits_of,
    get,
    holder_in,
    magazine_of,
    mark,
    next_stamp,
    page_mark_of,
    set_bits,
    slot_mark_of,
    slots_of,
    state_in,
)
from pooling.arena.kernel.pages import NONE, claim_run, release_run
from pooling.arena.kernel.red_zones import poison
from txqueue.jit.array_types import Bool, Int, Words
from txqueue.jit.atomics import cas, load_acquire, load_seq_cst, store_relaxed, store_release
from txqueue.jit.cpu import lowest_bit
from txqueue.jit.decorators import inner

_CUT_NEW_SLAB = 2
"""The attempt to find slots that cuts a new slab."""


@inner
def fill(words: Words, holder: Int, size_class: Int, want: Int) -> Int:
    """Fills an empty magazine with up to ``want`` slots.

    They come from candidate slabs, beginning with the one last drawn from; else from all candidates; else from a new
    slab; else from any slab at all.

    Returns:
        Slots that are in it now. The caller counts them in the magazine's tally.
    """
    cursor = get(words, magazine_of(holder, size_class) + layout.CURSOR)
    for attempt in range(4):
        if attempt == _CUT_NEW_SLAB:
            count = _cut_new_slab(words, holder, size_class, want)
        else:
            start = cursor & ~63 if attempt == 0 else np.int64(0)
            count = _search(words, holder, size_class, want, start, attempt > _CUT_NEW_SLAB)
        if count > 0:
            return count
    return 0


@inner
def _search(words: Words, holder: Int, size_class: Int, want: Int, start: Int, everywhere: Bool) -> Int:
    """Takes slots from the chunks from ``start``, a multiple of 64, that are candidates; or from any of them."""
    chunks = get(words, layout.PAGES_USED) >> 4
    count: Int = np.int64(0)
    for base in range(start, chunks, 64):
        candidates_at = candidates_of(words, size_class, base)
        candidates = np.int64(-1) if everywhere else np.int64(load_acquire(words, candidates_at))
        while candidates != 0 and count < want:
            chunk = base + np.int64(lowest_bit(candidates))
            candidates &= candidates - 1
            if chunk >= chunks:
                break
            count = _take(words, holder, size_class, chunk, count, want)
            if _is_empty(words, chunk, size_class):
                clear_bits(words, candidates_at, np.int64(1) << (chunk & 63))
                if not _is_empty(words, chunk, size_class):
                    set_bits(words, candidates_at, np.int64(1) << (chunk & 63))
        if count == want:
            break
    return count


@inner
def _is_empty(words: Words, chunk: Int, size_class: Int) -> Bool:
    bits = np.int64(0)
    for slot in range(0, slots_of(size_class), 64):
        bits |= np.int64(load_seq_cst(words, free_bits_of(words, chunk, slot)))
    return bool(bits == 0)


@inner
def _take(words: Words, holder: Int, size_class: Int, chunk: Int, count: Int, want: Int) -> Int:
    """Takes free slots of a chunk into the magazine; none where the chunk is no slab of this class, or no longer."""
    slots = slots_of(size_class)
    handles = magazine_of(holder, size_class) + layout.HANDLES
    store_relaxed(words, magazine_of(holder, size_class) + layout.CURSOR, chunk)
    for base in range(0, slots, 64):
        bits_at = free_bits_of(words, chunk, base)
        bits = np.int64(load_acquire(words, bits_at))
        taken = np.int64(0)
        while bits != 0 and count < want:
            bit = np.int64(lowest_bit(bits))
            bits &= bits - 1
            if base + bit >= slots:
                break  # a free bit of a slab of smaller slots: for this class it would be beyond the chunk
            granule = _granule(chunk, base + bit, size_class)
            at = slot_mark_of(words, granule, size_class)
            seen = np.int64(load_acquire(words, at))
            free = state_in(seen) == layout.FREE and class_in(seen) == size_class
            if free and cas(words, at, seen, mark(seen, holder, layout.CACHED)):
                store_relaxed(words, handles + count, (seen & layout.STAMP_MASK) | granule)
                taken |= np.int64(1) << bit
                count += 1
        if taken != 0:
            clear_bits(words, bits_at, taken)
        if count == want:
            break
    return count


@inner
def _granule(chunk: Int, slot: Int, size_class: Int) -> Int:
    return chunk << layout.CHUNK_GRANULES_SHIFT | slot << (size_class - 1)


@inner
def _cut_new_slab(words: Words, holder: Int, size_class: Int, want: Int) -> Int:
    """Makes a slab of a free chunk. All slots are the holder's at first; those it does not want are freed."""
    page = claim_run(words, holder, np.int64(layout.CHUNK_PAGES), np.int64(layout.CHUNK_PAGES))
    if page == NONE:
        return np.int64(0)
    chunk = page // layout.CHUNK_PAGES
    stamp = size_class << layout.CLASS_SHIFT
    for slot in range(slots_of(size_class)):
        granule = _granule(chunk, slot, size_class)
        at = slot_mark_of(words, granule, size_class)
        fresh = (next_stamp(get(words, at)) & layout.GENERATION_MASK) | stamp
        store_relaxed(words, at, mark(fresh, holder, layout.CACHED))
        if get(words, layout.DEBUG) != 0:
            poison(words, granule, layout.GRANULE_BYTES << (size_class - 1), np.int64(0))
    page_mark = page_mark_of(words, page)
    slab = (get(words, page_mark) & layout.GENERATION_MASK) | stamp | layout.SLAB
    store_release(words, page_mark, slab)

    magazine = magazine_of(holder, size_class)
    store_relaxed(words, magazine + layout.CURSOR, chunk)
    count = np.int64(0)
    for slot in range(slots_of(size_class)):
        granule = _granule(chunk, slot, size_class)
        handle = (get(words, slot_mark_of(words, granule, size_class)) & layout.STAMP_MASK) | granule
        if count < want:
            store_relaxed(words, magazine + layout.HANDLES + count, handle)
            count += 1
        else:
            _return_one(words, handle, size_class)
    mark_candidate(words, chunk, size_class)
    return count


@inner
def _chunk_in(handle: Int) -> Int:
    return (handle & layout.LOW_MASK) >> layout.CHUNK_GRANULES_SHIFT


@inner
def _slot_in(handle: Int, size_class: Int) -> Int:
    return (handle & (layout.CHUNK_GRANULES - 1)) >> (size_class - 1)


@inner
def _bits_at(words: Words, handle: Int, size_class: Int) -> Int:
    return free_bits_of(words, _chunk_in(handle), _slot_in(handle, size_class))


@inner
def _return_one(words: Words, handle: Int, size_class: Int) -> None:
    set_bits(words, _bits_at(words, handle, size_class), np.int64(1) << (_slot_in(handle, size_class) & 63))
    store_release(words, slot_mark_of(words, handle & layout.LOW_MASK, size_class), handle & layout.STAMP_MASK)


@inner
def return_slots(words: Words, holder: Int, size_class: Int, count: Int) -> None:
    """Returns the magazine's first ``count`` slots, unused for longest, to their slabs, and moves the rest down.

    The caller subtracts them from the tally.
    """
    magazine = magazine_of(holder, size_class)
    handles = magazine + layout.HANDLES
    index = np.int64(0)
    while index < count:  # slots that share a word of free bits mostly stand together
        bits_at = _bits_at(words, get(words, handles + index), size_class)
        bits = np.int64(0)
        end = index
        while end < count and _bits_at(words, get(words, handles + end), size_class) == bits_at:
            bits |= np.int64(1) << (_slot_in(get(words, handles + end), size_class) & 63)
            end += 1
        set_bits(words, bits_at, bits)
        for freed in range(index, end):
            handle = get(words, handles + freed)
            at = slot_mark_of(words, handle & layout.LOW_MASK, size_class)
            store_release(words, at, handle & layout.STAMP_MASK)
        mark_candidate(words, _chunk_in(get(words, handles + index)), size_class)
        index = end
    for later in range(count, get(words, magazine) & layout.TALLY_MASK):
        store_relaxed(words, handles + later - count, get(words, handles + later))


@inner
def mark_candidate(words: Words, chunk: Int, size_class: Int) -> None:
    """Sets the candidate bit of a slab that has a free slot."""
    at = candidates_of(words, size_class, chunk)
    bit = np.int64(1) << (chunk & 63)
    if np.int64(load_seq_cst(words, at)) & bit == 0:
        set_bits(words, at, bit)


@inner
def free_slots_of(words: Words, page: Int, holder: Int) -> Int:
    """Frees a dead holder's slots in the slab at ``page``; for recovery.

    Returns:
        Their number.
    """
    chunk = page // layout.CHUNK_PAGES
    size_class = class_in(get(words, page_mark_of(words, page)))
    returned = np.int64(0)
    for slot in range(slots_of(size_class)):
        granule = _granule(chunk, slot, size_class)
        at = slot_mark_of(words, granule, size_class)
        seen = np.int64(load_acquire(words, at))
        if holder_in(seen) != holder or state_in(seen) == layout.FREE:
            continue
        # A holder that takes it over from the dead one at this moment may have it.
        if not cas(words, at, seen, mark(next_stamp(seen), holder, layout.CACHED)):
            continue
        if get(words, layout.DEBUG) != 0:
            poison(words, granule, layout.GRANULE_BYTES << (size_class - 1), np.int64(0))
        _return_one(words, next_stamp(seen) | granule, size_class)
        returned += 1
    if not _is_empty(words, chunk, size_class):
        mark_candidate(words, chunk, size_class)
    return returned


@inner
def retire_slab(words: Words, page: Int, holder: Int) -> Bool:
    """Turns the slab at ``page`` back into free pages, if all of its slots are free."""
    chunk = page // layout.CHUNK_PAGES
    size_class = class_in(get(words, page_mark_of(words, page)))
    slots = slots_of(size_class)
    taken = 0
    for slot in range(slots):
        at = slot_mark_of(words, _granule(chunk, slot, size_class), size_class)
        seen = np.int64(load_acquire(words, at))
        free = state_in(seen) == layout.FREE and class_in(seen) == size_class
        if not free or not cas(words, at, seen, mark(seen, holder, layout.CACHED)):
            break
        taken += 1
    if taken < slots:
        for slot in range(taken):  # their free bits were never cleared
            at = slot_mark_of(words, _granule(chunk, slot, size_class), size_class)
            store_release(words, at, get(words, at) & layout.STAMP_MASK)
        return False
    for slot in range(0, slots, 64):
        store_release(words, free_bits_of(words, chunk, slot), 0)
    # From here on the slots' marks do not count any more: the pages are the holder's.
    generation = get(words, page_mark_of(words, page)) & layout.GENERATION_MASK
    store_release(words, page_mark_of(words, page), mark(generation, holder, layout.CLAIMED))
    release_run(words, page)
    return True
