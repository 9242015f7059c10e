"""The simulator notices every rule that is broken on purpose."""

import pytest

from simulation.variants.hunt import VARIANTS, hunt
from simulation.variants.variant import Change, Variant

NOTICED_AT_ONCE = {
    "acknowledges-before-the-sync",
    "applies-what-is-durable",
    "commits-without-a-quorum",
    "cuts-what-does-not-differ",
    "keeps-its-promise-in-memory",
    "replies-before-the-promise",
}
"""Within a schedule or two."""
NOTICED_BY_A_SCENARIO = {
    "commits-what-does-not-match",
    "counts-acknowledgements-of-other-streams",
    "counts-copies-of-old-ballots",
    "reads-without-asking",
    "votes-before-it-recovered",
    "votes-with-a-new-disk",
}
"""See `tests/simulation/scenarios`: chance meets the state that it takes too seldom to wait for it."""
NOT_NOTICED_YET = {"acknowledges-what-does-not-match", "counts-late-completions", "seals-for-lower-ballots"}
"""By no scenario, nor by sixty schedules; walks over the core alone notice the first two."""
SCHEDULES_MAX = 400
SELDOM = [
    variant for variant in VARIANTS if variant.name not in NOTICED_AT_ONCE | NOTICED_BY_A_SCENARIO | NOT_NOTICED_YET
]


@pytest.mark.parametrize(
    "variant", [variant for variant in VARIANTS if variant.name in NOTICED_AT_ONCE], ids=lambda variant: variant.name
)
def test_a_rule_that_is_broken_all_the_time_is_noticed_at_once(variant: Variant) -> None:
    assert hunt(variant, 3).outcome is not None


@pytest.mark.slow
@pytest.mark.parametrize("variant", SELDOM, ids=lambda variant: variant.name)
def test_a_rule_that_is_broken_where_it_matters_is_noticed(variant: Variant) -> None:
    assert hunt(variant, SCHEDULES_MAX).outcome is not None


def test_variants_have_names_of_their_own() -> None:
    assert len({variant.name for variant in VARIANTS}) == len(VARIANTS)
    assert {variant.name for variant in VARIANTS} >= NOTICED_AT_ONCE | NOTICED_BY_A_SCENARIO | NOT_NOTICED_YET
    assert not NOTICED_AT_ONCE & NOTICED_BY_A_SCENARIO


def test_a_variant_is_whole_again_when_its_block_ends() -> None:
    class Owner:
        value = 1

    table = {"value": 1}
    with Variant("", "", (Change(Owner, "value", 2), Change(table, "value", 2))).applied():
        assert (Owner.value, table["value"]) == (2, 2)
    assert (Owner.value, table["value"]) == (1, 1)
