"""Variants of the core that do without one rule each: the walks that find nothing in the core find these."""

import pytest

from replication.consensus.interface.membership import Membership
from tests.replication.consensus import broken_variants as broken
from tests.replication.consensus.broken_variants import Variant
from tests.replication.consensus.walk import many_walks

THREE = Membership(1, frozenset({1, 2, 3}))
AND_A_LEARNER = Membership(1, frozenset({1, 2, 3}), frozenset({4}))
FOUND_SOON: tuple[Variant, ...] = (
    broken.answers_before_its_promise_is_stored,
    broken.forgets_promises_at_a_restart,
    broken.acknowledges_before_the_sync,
    broken.cuts_without_a_proven_conflict,
    broken.counts_one_too_few,
    broken.leads_with_its_own_log,
    broken.tries_a_ballot_again,
    broken.counts_learners,
)
FOUND_LATER: tuple[Variant, ...] = (
    broken.chooses_the_longest_log,
    broken.counts_its_own_blocks_before_they_are_synced,
    broken.acknowledges_what_is_not_matched,
    broken.takes_for_committed_what_is_not_matched,
    broken.takes_logs_for_equal_up_to_the_others_commit_index,
    broken.believes_late_completions,
    broken.confirms_reads_at_once,
    broken.reads_before_its_own_block_is_committed,
    broken.rejoins_without_catching_up,
    broken.rejoins_with_any_leader,
)


def found_in_walks(variant: Variant, patch: pytest.MonkeyPatch, walks: int) -> bool:
    """Tell whether some of so many walks finds what is broken."""
    variant(patch)
    membership = AND_A_LEARNER if variant is broken.counts_learners else THREE
    return bool(many_walks(membership, range(walks)).violation)


@pytest.mark.parametrize("variant", FOUND_SOON)
def test_a_missing_rule_is_noticed_soon(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_in_walks(variant, monkeypatch, 100)


@pytest.mark.slow
@pytest.mark.parametrize("variant", FOUND_LATER)
def test_a_missing_rule_is_noticed(variant: Variant, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_in_walks(variant, monkeypatch, 2_500)
