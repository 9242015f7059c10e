"""What every coordinator promises, as tests that each kind of it inherits."""

import threading
from abc import ABC, abstractmethod
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from replication.coordinator import ClusterRecord, Coordinator
from replication.coordinator.errors import CoordinatorUnavailable
from tests.eventually import eventually


def _has_epoch(seen: list[ClusterRecord], epoch: int) -> bool:
    return seen[-1].epoch == epoch


def follow(coordinator: Coordinator, seen: list[ClusterRecord]) -> None:
    """Add what a watch gives to a list that others look at meanwhile."""
    for record in coordinator.watch():
        seen.append(record)  # noqa: PERF402 - each when it comes


class CoordinatorContract(ABC):
    """Subclasses say how to open one register as often as wanted."""

    @abstractmethod
    def open(self) -> Coordinator:
        """Open the test's register once more."""

    @pytest.fixture
    def coordinator(self) -> Iterator[Coordinator]:
        with self.open() as coordinator:
            yield coordinator

    def test_begins_without_an_epoch_and_without_a_membership(self, coordinator: Coordinator) -> None:
        record = coordinator.read()
        assert (record.epoch, record.candidate, record.generation, record.membership) == (0, 0, 0, b"")

    def test_an_epoch_is_given_to_whoever_knew_the_last_one(self, coordinator: Coordinator) -> None:
        answer = coordinator.cas_epoch(0, 1, 3, b"first")
        assert answer.swapped
        assert (answer.record.epoch, answer.record.candidate) == (1, 3)
        late = coordinator.cas_epoch(0, 2, 2, b"second")
        assert not late.swapped
        assert late.record == answer.record == coordinator.read()

    def test_epochs_may_leave_gaps(self, coordinator: Coordinator) -> None:
        assert coordinator.cas_epoch(0, 17, 1, b"after a promise of sixteen").swapped

    def test_epochs_only_rise(self, coordinator: Coordinator) -> None:
        with pytest.raises(ValueError, match="only rise"):
            coordinator.cas_epoch(4, 4, 1, b"")

    def test_an_attempt_whose_answer_was_lost_succeeds_again_and_changes_nothing(
        self, coordinator: Coordinator
    ) -> None:
        first = coordinator.cas_epoch(0, 1, 3, b"mine")
        again = coordinator.cas_epoch(0, 1, 3, b"mine")
        assert again.swapped
        assert again.record == first.record

    def test_the_same_node_does_not_get_an_epoch_twice_in_two_attempts(self, coordinator: Coordinator) -> None:
        coordinator.cas_epoch(0, 1, 3, b"before its restart")
        assert not coordinator.cas_epoch(0, 1, 3, b"after its restart").swapped

    def test_of_many_who_try_at_once_one_gets_each_epoch(self) -> None:
        attempts, epochs = 6, 12
        begun = threading.Barrier(attempts)

        def try_all(node: int) -> list[int]:
            with self.open() as coordinator:
                begun.wait()
                tries = [coordinator.cas_epoch(epoch, epoch + 1, node, b"%d" % node) for epoch in range(epochs)]
                return [epoch + 1 for epoch, answer in enumerate(tries) if answer.swapped]

        with ThreadPoolExecutor(attempts) as threads:
            won = [epoch for epochs_won in threads.map(try_all, range(1, attempts + 1)) for epoch in epochs_won]
        assert sorted(won) == list(range(1, epochs + 1))

    def test_a_membership_replaces_only_the_one_that_was_known(self, coordinator: Coordinator) -> None:
        assert coordinator.cas_membership(0, 1, b"nodes 1 2 3").swapped
        assert not coordinator.cas_membership(0, 1, b"nodes 4 5 6").swapped
        assert coordinator.cas_membership(0, 1, b"nodes 1 2 3").swapped, "made again, it had succeeded"
        assert coordinator.read().membership == b"nodes 1 2 3"
        with pytest.raises(ValueError, match="only rise"):
            coordinator.cas_membership(1, 1, b"")

    def test_epochs_and_memberships_do_not_disturb_each_other(self, coordinator: Coordinator) -> None:
        coordinator.cas_membership(0, 1, b"nodes")
        assert coordinator.cas_epoch(0, 1, 2, b"token").swapped
        assert coordinator.cas_membership(1, 2, b"more nodes").swapped
        record = coordinator.read()
        assert (record.epoch, record.candidate, record.generation, record.membership) == (1, 2, 2, b"more nodes")

    def test_every_change_raises_the_version(self, coordinator: Coordinator) -> None:
        versions = [coordinator.read().version]
        versions.append(coordinator.cas_epoch(0, 1, 1, b"a").record.version)
        versions.append(coordinator.cas_membership(0, 1, b"b").record.version)
        assert versions == sorted(set(versions))

    def test_what_was_answered_is_there_for_whoever_opens_it_next(self) -> None:
        with self.open() as first:
            first.cas_epoch(0, 9, 2, b"token")
        with self.open() as second:
            assert second.read().epoch == 9

    def test_a_watch_gives_the_record_then_each_change_until_the_end(self, coordinator: Coordinator) -> None:
        seen: list[ClusterRecord] = []

        watching = threading.Thread(target=follow, args=(coordinator, seen))
        watching.start()
        eventually(lambda: seen, "the record as it is")
        with self.open() as other:
            for epoch in range(3):
                other.cas_epoch(epoch, epoch + 1, 1, b"%d" % epoch)
                eventually(partial(_has_epoch, seen, epoch + 1), "the change")
        coordinator.cas_epoch(3, 4, 1, b"its own change")
        eventually(lambda: seen[-1].epoch == 4, "its own change")
        coordinator.close()
        watching.join(10)
        assert not watching.is_alive()
        assert [record.epoch for record in seen] == [0, 1, 2, 3, 4]

    def test_a_closed_one_says_so(self) -> None:
        coordinator = self.open()
        coordinator.close()
        with pytest.raises(CoordinatorUnavailable):
            coordinator.read()
        assert list(coordinator.watch()) == []
