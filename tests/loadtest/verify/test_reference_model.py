"""The plain model does what the contract says; every case here is worked out by hand."""

from loadtest.verify.reference_model import ReferenceModel, bytes_digest, mix
from loadtest.verify.session_ledger import DUPLICATE, WINDOW
from tests.loadtest.verify.transactions import body, record

APPEND, PUT, DELETE, CAS, ADD, TRANSFER, OPEN = range(1, 8)
LINKED, OVERDRAFT, FLOOR = 1, 2, 4
I64_MAX = (1 << 63) - 1


def results_of(*transactions: tuple[bytes, bytes], model: ReferenceModel | None = None, position: int = 0) -> list[int]:
    return list((model or ReferenceModel()).apply(*body(*transactions), position, 1))


def funded(*balances: int) -> tuple[ReferenceModel, int]:
    """Accounts 1, 2, ... with these balances; also the next sequence."""
    model = ReferenceModel()
    transactions = [record(OPEN, 1, debit=0, flags=OVERDRAFT)]
    for account, balance in enumerate(balances, start=1):
        transactions.append(record(OPEN, len(transactions) + 1, debit=account))
        if balance:
            transactions.append(record(TRANSFER, len(transactions) + 1, debit=0, credit=account, amount=balance))
    assert set(results_of(*transactions, model=model)) == {1}
    return model, len(transactions) + 1


def test_transfer_moves_the_amount_or_says_why_not() -> None:
    model, sequence = funded(10, 0)
    attempts = [
        record(TRANSFER, sequence, debit=1, credit=2, amount=7),
        record(TRANSFER, sequence + 1, debit=1, credit=2, amount=4),
        record(TRANSFER, sequence + 2, debit=1, credit=1, amount=1),
        record(TRANSFER, sequence + 3, debit=1, credit=9, amount=1),
        record(TRANSFER, sequence + 4, debit=9, credit=1, amount=1),
        record(TRANSFER, sequence + 5, debit=0, credit=2, amount=I64_MAX - 6),
        record(TRANSFER, sequence + 6, debit=1, credit=2, amount=1, namespace=1),
    ]
    assert results_of(*attempts, model=model) == [1, 6, 8, 7, 7, 4, 7]
    assert model.money() == 0


def test_same_account_is_reported_before_the_account_is_looked_up() -> None:
    assert results_of(record(TRANSFER, 1, debit=5, credit=5, amount=1)) == [8]


def test_opening_an_account_again_is_rejected_and_changes_nothing() -> None:
    model, sequence = funded(10)
    digest = model.entries.copy()
    assert results_of(record(OPEN, sequence, debit=1, flags=OVERDRAFT), model=model) == [9]
    assert model.entries == digest


def test_values_carry_the_version_of_the_transaction_that_set_them() -> None:
    model = ReferenceModel()
    attempts = [
        record(PUT, 1, key=b"k", value=b"a"),
        record(CAS, 2, key=b"k", value=b"b", lower=0),
        record(CAS, 3, key=b"k", value=b"c", lower=101),
        record(CAS, 4, key=b"k", value=b"d", lower=101),
        record(DELETE, 5, key=b"k"),
        record(DELETE, 6, key=b"k"),
        record(CAS, 7, key=b"k", value=b"e", lower=103),
        record(CAS, 8, key=b"k", value=b"f", lower=0),
    ]
    assert results_of(*attempts, model=model, position=100) == [1, 3, 1, 3, 1, 2, 3, 1]
    (entry,) = model.entries.values()
    assert (entry.version, entry.value) == (108, b"f")


def test_long_keys_are_the_head_of_the_payload_and_differ_in_their_last_byte() -> None:
    model = ReferenceModel()
    first, second = b"x" * 1023 + b"a", b"x" * 1023 + b"b"
    results_of(record(PUT, 1, key=first, value=b"1"), record(PUT, 2, key=second, value=b"22"), model=model)
    assert {key: entry.value for (_, _, key), entry in model.entries.items()} == {first: b"1", second: b"22"}


def test_counters_start_at_zero_and_stop_at_their_bounds() -> None:
    attempts = [
        record(ADD, 1, key=b"c", amount=I64_MAX),
        record(ADD, 2, key=b"c", amount=1),
        record(ADD, 3, key=b"d", amount=-5, flags=FLOOR, lower=-4),
        record(ADD, 4, key=b"d", amount=-5, flags=FLOOR, lower=-5),
        record(ADD, 5, key=b"d", amount=-(1 << 63)),
    ]
    assert results_of(*attempts) == [1, 4, 5, 1, 4]


def test_keys_of_other_kinds_and_namespaces_are_other_keys() -> None:
    model = ReferenceModel()
    key = bytes(16)
    results_of(
        record(PUT, 1, key=key, value=b"v"),
        record(ADD, 2, key=key, amount=3),
        record(OPEN, 3, debit=0),
        record(PUT, 4, key=key, value=b"w", namespace=9),
        record(PUT, 5, key=key[:15], value=b"w"),
        model=model,
    )
    assert len(model.entries) == 5


def test_a_chain_takes_effect_whole_or_not_at_all() -> None:
    model, sequence = funded(10, 0)
    before = model.entries.copy()
    failing = [
        record(TRANSFER, sequence, debit=1, credit=2, amount=10, flags=LINKED),
        record(PUT, sequence + 1, key=b"k", value=b"v", flags=LINKED),
        record(TRANSFER, sequence + 2, debit=1, credit=2, amount=1, flags=LINKED),
        record(APPEND, sequence + 3),
        record(APPEND, sequence + 4),
    ]
    assert results_of(*failing, model=model) == [10, 10, 6, 10, 1]
    assert model.entries == before
    whole = [
        record(TRANSFER, sequence + 5, debit=1, credit=2, amount=10, flags=LINKED),
        record(TRANSFER, sequence + 6, debit=2, credit=1, amount=10),
    ]
    assert results_of(*whole, model=model) == [1, 1]


def test_a_repeated_transaction_gets_its_first_answer_and_no_second_effect() -> None:
    model, sequence = funded(10, 0)
    transfer = record(TRANSFER, sequence, debit=1, credit=2, amount=6)
    assert results_of(transfer, transfer, model=model) == [1, 1 | DUPLICATE]
    rejected = record(TRANSFER, sequence + 1, debit=1, credit=2, amount=6)
    assert results_of(rejected, model=model) == [6]
    assert results_of(rejected, model=model) == [6 | DUPLICATE]


def test_a_chain_with_a_duplicate_takes_no_effect() -> None:
    model = ReferenceModel()
    first = record(PUT, 1, key=b"a", value=b"1", flags=LINKED)
    assert results_of(first, record(PUT, 2, key=b"b", value=b"1"), model=model) == [1, 1]
    again = [first, record(PUT, 3, key=b"c", value=b"1")]
    assert results_of(*again, model=model) == [1 | DUPLICATE, 10]
    assert len(model.entries) == 2


def test_sequences_behind_the_window_are_expired_and_skipped_ones_are_new() -> None:
    model = ReferenceModel()
    sequences = [1, WINDOW, 1, WINDOW + 1, 1, 2, 2]
    attempts = [record(APPEND, sequence) for sequence in sequences]
    assert results_of(*attempts, model=model) == [1, 1, 1 | DUPLICATE, 1, 11, 1, 1 | DUPLICATE]


def test_digests_follow_the_written_definition() -> None:
    assert bytes_digest(b"") == 0
    assert bytes_digest(b"\1") == mix(1, 1)
    assert bytes_digest(b"12345678\2") == mix(mix(9, int.from_bytes(b"12345678", "little")), 2)
    model = ReferenceModel()
    results_of(record(APPEND, 1), record(DELETE, 2, key=b"k"), model=model)
    assert model.effects_digest == mix(mix(0, 1), 2)
