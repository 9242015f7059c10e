"""The record's numbers are the contract's."""

from penstock.v1 import record_pb2
from txqueue import record


def test_record_is_one_cache_line_of_eight_words() -> None:
    assert record.RECORD.itemsize == record.RECORD_BYTES == 8 * record.RECORD_WORDS


def test_every_enum_value_of_the_contract_has_its_number_here() -> None:
    for enum in (record_pb2.Operation, record_pb2.Flag, record_pb2.ResultCode):
        prefix = {"Operation": "OPERATION_", "Flag": "FLAG_", "ResultCode": "RESULT_CODE_"}[enum.DESCRIPTOR.name]
        for name, number in enum.items():
            if number:
                assert getattr(record, name.removeprefix(prefix)) == number
