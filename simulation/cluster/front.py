"""Front: what clients see of a node: it takes transactions in while it leads, answers for them, and serves reads."""

from collections.abc import Callable, Sequence
from typing import Final

from replication.consensus.interface.effects import BeginEpoch, ConfirmRead, SteppedDown
from replication.consensus.interface.events import Event, ReadRequested
from replication.log.ballot import NO_BALLOT, Ballot
from replication.log.block import Block
from simulation.cluster.applier import Applier
from simulation.cluster.process import Process
from simulation.cluster.sequencer import Sequencer
from simulation.cluster.wire import (
    NotLeader,
    ReadAnswer,
    ReadRefused,
    ReadRequest,
    Receipt,
    Submission,
    Unknown,
)
from simulation.world.timeline import MS, Timeline

_RETRY_NS: Final = 50 * MS


class Front:
    """The part of one run of a node that its clients talk to."""

    def __init__(
        self,
        run: int,
        process: Process,
        sequencer: Sequencer,
        applier: Applier,
        timeline: Timeline,
        tell: Callable[[Event], None],
        send: Callable[[int, object], None],
        now_ns: Callable[[], int],
    ) -> None:
        """Answer clients by ``send``; tell the core of reads by ``tell``, numbered so that no run repeats a number."""
        self._process, self._sequencer, self._applier, self._timeline = process, sequencer, applier, timeline
        self._tell, self._send, self._now_ns = tell, send, now_ns
        self.leading: Ballot = NO_BALLOT
        """The ballot that this node leads."""
        self.leader: Ballot = NO_BALLOT
        """The ballot of whom clients should ask."""
        self._read_count = run << 32
        self._reads: dict[int, tuple[int, int]] = {}
        self._confirmed: list[ConfirmRead] = []

    def submit(self, client: int, submission: Submission) -> None:
        """Take a submission in, or say who would."""
        if self._sequencer.open:
            self._sequencer.submit(submission)
        else:
            self._send(client, NotLeader(submission.sequence, self.leader.node))

    def ask(self, client: int, request: ReadRequest) -> None:
        """Have a read confirmed."""
        self._read_count += 1
        self._reads[self._read_count] = (client, request.read)
        self._tell(ReadRequested(self._read_count, self._now_ns()))

    def begin(self, effect: BeginEpoch) -> None:
        """Open a ballot, as soon as there is room for its block."""
        self.leading = effect.ballot
        self._try_to_begin(effect)

    def open(self) -> None:
        """Take transactions in."""
        self._sequencer.open = True

    def close(self, to: int) -> None:
        """Take none in, and name another node for those not sealed yet."""
        for submission in self._sequencer.close():
            self._send(submission.client, NotLeader(submission.sequence, to))

    def step_down(self, effect: SteppedDown) -> None:
        """Answer what this node does not know any more."""
        self.leading = NO_BALLOT
        self.close(0)
        sealed = self._sequencer.sealed
        for index in [index for index in sealed if index > effect.commit_index]:
            for submission in sealed.pop(index)[1]:
                self._send(submission.client, Unknown(submission.sequence))

    def answer(self, block: Block, results: Sequence[int]) -> None:
        """Answer for a block that was applied, where this node sealed it."""
        sealed = self._sequencer.sealed.pop(block.index, None)
        if sealed is None:
            return
        block_hash, submissions = sealed
        if block_hash != block.hash:
            for submission in submissions:
                self._send(submission.client, Unknown(submission.sequence))
            return
        for row, (submission, result) in enumerate(zip(submissions, results, strict=True)):
            receipt = Receipt(submission.sequence, block.index, block.first_position + row, result)
            self._send(submission.client, receipt)

    def confirm(self, effect: ConfirmRead) -> None:
        """Serve a read once its index is applied."""
        self._confirmed.append(effect)
        self.serve()

    def refuse(self, number: int) -> None:
        """Say who might serve a read."""
        client, read = self._reads.pop(number)
        self._send(client, ReadRefused(read, self.leader.node))

    def serve(self) -> None:
        """Serve the reads whose index is applied."""
        index = self._applier.index
        for effect in [effect for effect in self._confirmed if effect.commit_index <= index]:
            self._confirmed.remove(effect)
            client, read = self._reads.pop(effect.read)
            self._send(client, ReadAnswer(read, index, self._applier.counter(client)))

    def _try_to_begin(self, effect: BeginEpoch) -> None:
        if self.leading == effect.ballot and not self._sequencer.begin(effect.ballot, effect.tip):
            self._timeline.after(_RETRY_NS, lambda: self._process.do(lambda: self._try_to_begin(effect)))
