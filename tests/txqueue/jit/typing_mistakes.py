"""What mypy finds wrong in compiled code: each mistake is an error that its comment expects, or `make lint` fails.

`warn_unused_ignores` makes an error of every expectation that is not met. The functions are never compiled.
"""

import numpy as np
from numpy.typing import NDArray

from txqueue.jit import cpu, raw_memory
from txqueue.jit.atomics import store_release
from txqueue.jit.decorators import inner
from txqueue.jit.native_types import U8, U64, Bytes, Words, u64_range


@inner
def _word_at(words: Words, index: U64) -> U64:
    return words[index]


@inner
def arguments_in_the_wrong_order(words: Words, index: U64) -> U64:
    return _word_at(index, words)  # type: ignore[arg-type]


@inner
def a_pointer_to_bytes_where_words_are_meant(data: Bytes, index: U64) -> U64:
    return _word_at(data, index)  # type: ignore[arg-type]


@inner
def a_pointer_where_a_number_is_meant(words: Words) -> U64:
    return cpu.folded_multiply(words, U64(1))  # type: ignore[arg-type]


@inner
def an_argument_too_few(words: Words) -> None:
    raw_memory.prefetch(words)  # type: ignore[call-overload]


@inner
def arithmetic_on_a_pointer(words: Words, index: U64) -> U64:
    return words + index  # type: ignore[operator, no-any-return]


@inner
def a_signed_index(words: Words) -> U64:
    return words[0]  # type: ignore[index]


@inner
def a_mix_of_signed_and_unsigned(count: U64, offset: np.int64) -> U64:
    return count + offset  # type: ignore[operator, no-any-return]


@inner
def a_sum_with_the_number_of_an_untyped_loop(count: U64) -> U64:
    total = U64(0)
    for number in range(count):
        total += number  # type: ignore[operator]
    for typed in u64_range(count):
        total += typed
    return total


@inner
def a_word_stored_where_a_byte_goes(data: Bytes, word: U64) -> None:
    data[word] = word  # type: ignore[assignment]
    data[word] = U8(word)


@inner
def an_array_of_bytes_where_atomics_need_words(array: NDArray[np.uint8]) -> None:
    store_release(array, 0, 1)  # type: ignore[arg-type]


@inner
def an_array_where_a_pointer_is_meant(array: NDArray[np.uint64]) -> U64:
    return _word_at(array, U64(0)) + _word_at(raw_memory.pointer(array), U64(0))  # type: ignore[arg-type]
