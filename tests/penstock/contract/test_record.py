"""The numbers of the contract's modules are those of ``record.proto``."""

import numpy as np
import pytest

from penstock.contract import flag, opcode, record, result_code
from penstock.v1 import record_pb2


def test_record_is_one_cache_line_of_eight_words() -> None:
    assert record.RECORD.itemsize == record.RECORD_BYTES == 8 * record.RECORD_WORDS


def test_every_enum_value_of_the_contract_has_its_number_here() -> None:
    for enum, prefix, module in (
        (record_pb2.Operation, "OPERATION_", opcode),
        (record_pb2.Flag, "FLAG_", flag),
        (record_pb2.ResultCode, "RESULT_CODE_", result_code),
    ):
        for name, number in enum.items():
            if number:
                assert getattr(module, name.removeprefix(prefix)) == number


def test_records_and_words_are_two_views_of_the_same_bytes() -> None:
    records = np.zeros(3, record.RECORD)
    words = record.as_words(records)
    words[1, record.WORD_META] = 7 | 6 << 16 | 1 << 24 | 9 << 32
    assert records[1][["namespace", "operation", "flags", "payload_length"]].item() == (7, 6, 1, 9)
    assert np.shares_memory(record.as_words(words), records)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros(3, np.uint64),
        np.zeros((3, 7), np.uint64),
        np.zeros((3, 8), np.int64),
        np.zeros((2, 2), record.RECORD),
        np.zeros(6, record.RECORD)[::2],
    ],
    ids=["flat", "seven words", "signed", "a matrix of records", "not contiguous"],
)
def test_what_is_no_array_of_records_is_refused(array: np.ndarray[tuple[int, ...], np.dtype[np.void]]) -> None:
    with pytest.raises(TypeError, match="C-contiguous RECORD"):
        record.as_words(array)
