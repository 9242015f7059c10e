import itertools

import numpy as np
import pytest

from services.telemetry.counters import Counter, Counters
from services.telemetry.metrics import METRICS


def test_counters_count_apart_from_each_other() -> None:
    counters = Counters()
    for counter in Counter:
        counters.add(counter, counter + 1)
        counters.add(counter)
    assert [counters[counter] for counter in Counter] == [counter + 2 for counter in Counter]


def test_compiled_code_and_python_see_the_same_words() -> None:
    counters = Counters()
    counters.words[Counter.SYNCS] += np.uint64(3)
    counters.put(Counter.SEALED_INDEX, (1 << 64) - 1)
    assert counters[Counter.SYNCS] == 3
    assert counters.words[Counter.SEALED_INDEX] == np.uint64((1 << 64) - 1)


def test_a_count_cannot_be_taken_back() -> None:
    with pytest.raises(ValueError, match="format"):
        Counters().add(Counter.SYNCS, -1)


def test_no_two_writers_share_a_pair_of_cache_lines() -> None:
    words = sorted(Counter)
    gaps = [second - first for first, second in itertools.pairwise(words) if second - first > 1]
    assert len(gaps) == 4
    assert min(gaps) > 16


def test_every_counter_can_be_seen_in_a_metric() -> None:
    seen = {metric.counter for metric in METRICS} | {metric.less for metric in METRICS}
    assert seen >= set(Counter)


def test_metric_names_are_unique_and_carry_the_prefix() -> None:
    names = [metric.name for metric in METRICS]
    assert len(set(names)) == len(names)
    assert all(name.startswith("penstock.") for name in names)
