"""Generated frames are reproducible, admissible, and distributed as asked."""

import numpy as np
import pytest

from loadtest.load.frame_source import AccountSetupSource, FrameSource, mix_slots
from loadtest.load.workload import OPERATIONS, Workload, WorkloadError, parse_distribution, parse_mix
from loadtest.load.zipf import alias_table
from loadtest.verify.reference_model import ReferenceModel, decode

ALL = dict.fromkeys(OPERATIONS, 1.0)


def test_the_same_frame_is_made_again_whatever_came_between() -> None:
    workload = Workload(mix=ALL, frame=500, seed=5)
    source, other = FrameSource(workload, 7), FrameSource(workload, 7)
    records, payloads = (array.copy() for array in source.frame(3))
    for number in (9, 0):
        source.frame(number)
    for again in (source.frame(3), other.frame(3)):
        assert np.array_equal(records, again[0])
        assert np.array_equal(payloads, again[1])


@pytest.mark.parametrize("change", [{"seed": 6}, {"client": 8}, {"frame": 4}])
def test_other_seeds_clients_and_frames_give_other_transactions(change: dict[str, int]) -> None:
    def keys(seed: int = 5, client: int = 7, frame: int = 3) -> bytes:
        return FrameSource(Workload(frame=500, seed=seed), client).frame(frame)[0][:, 2].tobytes()

    assert keys() != keys(**change)


def test_every_record_is_one_that_the_contract_allows() -> None:
    workload = Workload(accounts=50, mix=ALL, frame=5000, value_bytes=37, zipf=1.2)
    records, payloads = FrameSource(workload, 7).frame(2)
    transactions = decode(records.tobytes(), payloads.tobytes())
    assert [tx.sequence for tx in transactions] == list(range(10_001, 15_001))
    assert {tx.operation for tx in transactions} == set(OPERATIONS.values())
    for tx in transactions:
        assert tx.client_id == 7
        assert int.from_bytes(tx.key, "little") < 50
        assert len(tx.payload) == (37 if tx.operation in (1, 2, 4) else 0)
        assert tx.operand_hi == (8 if tx.operation in (2, 3, 4, 5) else 0)
        if tx.operation == OPERATIONS["transfer"]:
            assert tx.credit_account != tx.key
            assert 1 <= tx.amount <= 128
        elif tx.operation != OPERATIONS["add"]:
            assert tx.amount == 0


def test_transfers_after_the_opening_all_succeed() -> None:
    workload = Workload(accounts=6000, frame=2000)
    opening, model, position = AccountSetupSource(workload, 1), ReferenceModel(), 0
    frames = [opening.frame(number) for number in range(opening.frames)]
    frames += [FrameSource(workload, 2).frame(number) for number in range(3)]
    for records, payloads in frames:
        assert set(model.apply(records.tobytes(), payloads.tobytes(), position, 1)) == {1}
        position += len(records)
    assert position == 2 * 6000 - 1 + 3 * 2000


def test_the_mix_has_the_shares_asked_for() -> None:
    records, _ = FrameSource(Workload(mix=parse_mix("transfer=90,put=7.5,add=2.5"), frame=10_000), 1).frame(0)
    operations = (records[:, 7] >> np.uint64(16)) & np.uint64(0xFF)
    shares = np.bincount(operations.astype(np.int64), minlength=8) / len(records)
    assert shares[[6, 2, 5]] == pytest.approx([0.9, 0.075, 0.025], abs=0.01)
    assert (np.bincount(mix_slots({"transfer": 1e6, "put": 1e-6})) > 0).sum() == 2, "a share is never rounded to none"


@pytest.mark.parametrize("exponent", [0.0, 0.8, 1.1])
def test_keys_follow_the_distribution(exponent: float) -> None:
    keys = 200
    source = FrameSource(Workload(accounts=keys, zipf=exponent, seed=3), 1)
    drawn = np.concatenate([source.frame(number)[0][:, 2].copy() for number in range(40)])
    counts = np.bincount(drawn.astype(np.int64), minlength=keys)
    ranks = np.random.default_rng(3).permutation(keys)
    weights = np.empty(keys)
    weights[ranks] = np.arange(1, keys + 1) ** -exponent
    expected = len(drawn) * weights / weights.sum()
    chi_square = float(((counts - expected) ** 2 / expected).sum())
    assert chi_square < keys + 5 * (2 * keys) ** 0.5, "five sigma of a chi-square distribution with 199 degrees"


def test_an_alias_table_gives_every_key_exactly_its_weight() -> None:
    keys, exponent = 1000, 1.3
    table = alias_table(keys, exponent, 1)
    own = (table >> np.uint64(32)).astype(np.float64) / 2**32
    mass = own.copy()
    np.add.at(mass, (table & np.uint64(0xFFFFFFFF)).astype(np.int64), 1 - own)
    weights = np.sort(np.arange(1, keys + 1) ** -exponent)
    assert np.sort(mass) / keys == pytest.approx(weights / weights.sum(), rel=1e-4)


@pytest.mark.parametrize(
    ("wrong", "hint"),
    [
        ({"accounts": 1}, "--accounts"),
        ({"frame": 10_001}, "--frame"),
        ({"mix": {"transfers": 1.0}}, "transfers"),
        ({"mix": {"put": 0.0}}, "--mix"),
        ({"mix": {"put": 1.0}, "value_bytes": 1000}, "--value-bytes"),
    ],
)
def test_a_workload_that_cannot_run_names_the_option(wrong: dict[str, object], hint: str) -> None:
    with pytest.raises(WorkloadError, match=hint):
        Workload(**wrong)  # type: ignore[arg-type]


def test_distributions_and_mixes_are_read_as_written() -> None:
    assert [parse_distribution(text) for text in ("uniform", "zipf", "zipf:0.99")] == [0.0, 1.0, 0.99]
    assert parse_mix("transfer=90, put=10") == {"transfer": 90.0, "put": 10.0}
    for wrong in ("zipf:x", "zipf:-1", "normal", "uniform:2"):
        with pytest.raises(WorkloadError, match="zipf"):
            parse_distribution(wrong)
    with pytest.raises(WorkloadError, match="numbers"):
        parse_mix("transfer=many")


@pytest.mark.parametrize("mix", [{"transfer": 1.0}, {"transfer": 5.0, "put": 1.0, "cas": 1.0}])
@pytest.mark.parametrize("size", [1, 63, 500])
def test_any_difference_to_a_frame_is_found_and_none_that_is_not_there(mix: dict[str, float], size: int) -> None:
    source = FrameSource(Workload(mix=mix, frame=size, value_bytes=11, seed=3), 7)
    records, payloads = source.frame(4)
    right, right_payloads = records.copy(), payloads.copy()
    assert source.difference(4, right, right_payloads) == ""
    assert source.difference(3, right, right_payloads) == "records"
    assert source.difference(4, right[:-1], right_payloads) == "records"
    assert source.difference(4, right, np.append(right_payloads, np.uint8(0))) == "payloads"
    if len(right_payloads):
        assert source.difference(4, right, right_payloads[:-1]) == "payloads"
    moments = np.random.default_rng(size)
    for at in {0, right.size - 1, *moments.integers(right.size, size=50).tolist()}:
        records = right.copy()
        records.flat[at] ^= np.uint64(1) << np.uint64(moments.integers(64))
        assert source.difference(4, records, right_payloads) == "records"
    for at in {0, len(right_payloads) - 1, *moments.integers(len(right_payloads) or 1, size=50).tolist()}:
        payloads = right_payloads.copy()
        if len(payloads):
            payloads[at] ^= np.uint8(1 << moments.integers(8))
            assert source.difference(4, right, payloads) == "payloads"
