"""Outline: what the protocol remembers of the own log, without its bodies.

The ballots of all blocks stand in runs. Headers are remembered from the last block on that is durable and committed,
and for a window before it, so that whatever may still be cut, compared or sent at once is there.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Iterable, Sequence

from replication.consensus.interface.header import EMPTY, Header, Tip
from replication.consensus.interface.messages import Extent, Run
from replication.log.ballot import Ballot


class Outline:
    """The blocks ``base.index + 1 .. tip.index`` of a log. A new one has everything durable, as recovery leaves it."""

    __slots__ = ("base", "durable_index", "recent", "runs", "tip")

    def __init__(
        self,
        headers: Iterable[Header] = (),
        *,
        base: Tip = EMPTY,
        runs: Sequence[Run] = (),
        before: Tip | None = None,
    ) -> None:
        """Take the log's last blocks, at least all behind the commit index, and the runs of what lies before them.

        ``base`` is the last block that was recycled, ``before`` the one before ``headers``, by default ``base``.
        """
        self.base = base
        self.runs: list[Run] = list(runs)
        self.tip: Tip = before or base
        self.recent: deque[Header] = deque()
        for header in headers:
            self.append(header)
        self.durable_index: int = self.tip.index

    def append(self, header: Header) -> None:
        """Add the next block.

        Its writer proved that it follows: index and hash are asserted.
        """
        tip = self.tip
        assert header.index == tip.index + 1, "blocks have no gaps"
        assert header.previous_hash == tip.hash, "each block names the one before it"
        assert header.ballot >= tip.ballot, "a leader's blocks follow those of lower ballots only"
        if not self.runs or self.runs[-1].ballot != header.ballot:
            self.runs.append(Run(header.ballot, header.index))
        self.recent.append(header)
        self.tip = header.tip

    def cut(self, after_index: int) -> None:
        """Remove all blocks behind ``after_index``, whose own header is remembered or the base."""
        assert self.base.index <= after_index < self.tip.index
        remembered = self.recent[0].index
        assert after_index >= remembered or (after_index == self.base.index and remembered == after_index + 1)
        while self.recent and self.recent[-1].index > after_index:
            self.recent.pop()
        while self.runs and self.runs[-1].first_index > after_index:
            self.runs.pop()
        self.tip = self.recent[-1].tip if self.recent else self.base
        self.durable_index = min(self.durable_index, after_index)

    def forget(self, commit_index: int, count: int) -> None:
        """Forget all but the last ``count`` headers, and none from the last one that is durable and committed on."""
        recent = self.recent
        needed = min(commit_index, self.durable_index)
        while len(recent) > count and recent[0].index < needed:
            recent.popleft()

    def header(self, index: int) -> Header | None:
        """Return the block's header where it is remembered."""
        if not self.recent:
            return None
        place = index - self.recent[0].index
        return self.recent[place] if 0 <= place < len(self.recent) else None

    def hash_at(self, index: int) -> bytes | None:
        """Return the hash of the block at ``index`` where it is remembered; of the log's beginning always."""
        if index == self.base.index:
            return self.base.hash
        if index == self.tip.index:
            return self.tip.hash
        header = self.header(index)
        return header.hash if header else None

    def ballot_at(self, index: int) -> Ballot | None:
        """Return the ballot of the block at ``index``; ``None`` where there is none or it was recycled."""
        if index == self.base.index:
            return self.base.ballot
        if not self.base.index < index <= self.tip.index:
            return None
        return self.runs[bisect_right(self.runs, index, key=_first_index) - 1].ballot

    def extent(self, commit_index: int) -> Extent:
        """Tell others what is durable here: its tip, and the ballots of the blocks that are remembered."""
        last = self.durable_index
        assert commit_index <= last
        first = self.recent[0].index if self.recent else last + 1
        runs = tuple(Run(run.ballot, max(run.first_index, first)) for run in self._runs_of(first, last))
        return Extent(self._tip_at(last), commit_index, runs)

    def fork_index(self, other: Extent, equal_index: int) -> int:
        """Return the highest index at which both logs are surely equal.

        They are up to ``equal_index``, as the caller knows, and wherever both have a block of one ballot: each leader
        writes each index once, behind a block that its header names (Raft's Log Matching Property).
        """
        equal = min(equal_index, other.tip.index, self.tip.index)
        ends = [run.first_index - 1 for run in other.runs[1:]] + [other.tip.index]
        for run, end in zip(reversed(other.runs), reversed(ends[: len(other.runs)]), strict=True):
            last = min(end, self.tip.index)
            while last >= max(run.first_index, equal + 1, self.base.index + 1):
                own = self.runs[bisect_right(self.runs, last, key=_first_index) - 1]
                if own.ballot == run.ballot:
                    return last
                last = own.first_index - 1
        return equal

    def _runs_of(self, first: int, last: int) -> list[Run]:
        if first > last:
            return []
        begin = max(bisect_right(self.runs, first, key=_first_index) - 1, 0)
        end = bisect_right(self.runs, last, key=_first_index)
        return self.runs[begin:end]

    def _tip_at(self, index: int) -> Tip:
        if index == self.tip.index:
            return self.tip
        if index == self.base.index:
            return self.base
        header = self.header(index)
        assert header, "what is not durable yet is remembered, and the block before it"
        return header.tip


def _first_index(run: Run) -> int:
    return run.first_index
