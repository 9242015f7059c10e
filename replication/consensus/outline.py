"""Outline: what the protocol remembers of the own log, without its bodies.

The ballots of all blocks stand in runs. Headers are remembered from the commit index on and for a window before it, so
that whatever may still be cut, compared or sent at once is there.
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
        """Forget all but the last ``count`` headers, and none from ``commit_index`` on."""
        recent = self.recent
        while len(recent) > count and recent[0].index < commit_index:
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
        """Tell others what is durable here: the tip of that, and the ballots behind ``commit_index``."""
        last = self.durable_index
        assert commit_index <= last
        tip = self._tip_at(last)
        runs = [
            Run(run.ballot, max(run.first_index, commit_index + 1)) for run in self._runs_of(commit_index + 1, last)
        ]
        return Extent(tip, commit_index, tuple(runs))

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


def fork_index(outline: Outline, other: Extent) -> int:
    """Return the highest index at which two logs are surely equal: the last with the same ballot in both.

    Logs that have one ballot at one index are equal up to it, as each leader writes each index once and only behind
    the block that its header names (Raft's Log Matching Property).
    """
    equal = min(other.commit_index, outline.tip.index)
    ends = [run.first_index - 1 for run in other.runs[1:]] + [other.tip.index]
    for run, end in zip(other.runs, ends, strict=True):
        last = min(end, outline.tip.index)
        # Within one of the other's runs, ours has an equal ballot in one stretch, which ends where ours goes on.
        while last >= run.first_index and outline.ballot_at(last) != run.ballot:
            ours = outline._runs_of(last, last)[0]
            last = ours.first_index - 1
        if last >= run.first_index:
            equal = max(equal, last)
    return equal
