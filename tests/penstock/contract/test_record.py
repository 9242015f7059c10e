"""The numbers of the contract's modules are those of ``record.proto``."""

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
