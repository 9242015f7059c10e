"""Producers in other processes, killed at the worst moments: nobody else notices."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.models.tools import require
from tests.txqueue.frames import Frame, FrameReceiver, assert_whole, make
from tests.txqueue.producer_process import process, run
from txqueue import queue as queue_module
from txqueue.errors import ProducersExhausted, RegionForeign
from txqueue.queue import LockFreeTxQueue
from txqueue.region.process_identity import process_namespace


@pytest.fixture
def queue(tmp_path: Path) -> Iterator[LockFreeTxQueue]:
    with LockFreeTxQueue.create(tmp_path / "ring", slots=64, producers=8, buffer_bytes=1 << 16) as queue:
        yield queue


def put(queue: LockFreeTxQueue, token: int) -> None:
    frame = make(token, 2, 9)
    queue.enqueue(frame.records, frame.payloads, frame.token)


def tokens(frames: list[Frame]) -> list[int]:
    for frame in frames:
        assert_whole(frame)
    return [frame.token for frame in frames]


def test_frames_of_several_processes_arrive_in_each_ones_order(queue: LockFreeTxQueue) -> None:
    script = "for number in range(3000): put(os.getpid() << 12 | number, 1 + number % 7)"
    with process(queue, script) as one, process(queue, script) as other:
        receiver = FrameReceiver(queue)
        got: dict[int, list[int]] = {one.pid: [], other.pid: []}
        deadline = time.monotonic() + 60
        while sum(map(len, got.values())) < 6000:
            assert time.monotonic() < deadline
            for token in tokens(receiver.receive()):
                got[token >> 12].append(token & 4095)
            queue.wait(0.01)
        assert all(numbers == list(range(3000)) for numbers in got.values())


@pytest.mark.slow
def test_three_hundred_processes_share_a_ring(tmp_path: Path) -> None:
    script = """
        for child in range(300):
            if os.fork() == 0:
                producer = queue.register()
                for number in range(20):
                    put(child << 12 | number)
                producer.close()
                os._exit(0)
        for _ in range(300):
            assert os.wait()[1] == 0
    """
    with (
        LockFreeTxQueue.create(tmp_path / "ring", slots=512, producers=304, buffer_bytes=1 << 12) as queue,
        process(queue, script) as parent,
    ):
        receiver = FrameReceiver(queue)
        got: dict[int, list[int]] = {child: [] for child in range(300)}
        deadline = time.monotonic() + 120
        while sum(map(len, got.values())) < 6000:
            assert time.monotonic() < deadline
            queue.wait(0.01)
            for token in tokens(receiver.receive()):
                got[token >> 12].append(token & 4095)
        assert all(numbers == list(range(20)) for numbers in got.values())
        assert parent.wait(60) == 0
        assert queue.get_queue_metrics().frames_enqueued == 6000


def test_a_producer_killed_between_claim_and_publish_leaves_no_trace(queue: LockFreeTxQueue) -> None:
    script = "put(1); first = ring.claim(queue.words, producer.index, 5, 0); queue.words[first] = 7; die()"
    assert run(queue, script) == -signal.SIGKILL
    put(queue, 2)
    assert tokens(FrameReceiver(queue).receive()) == [1, 2]


def test_a_producer_killed_after_publishing_loses_nothing(queue: LockFreeTxQueue) -> None:
    assert run(queue, "put(1); put(2); die()") == -signal.SIGKILL
    put(queue, 3)
    assert tokens(FrameReceiver(queue).receive()) == [1, 2, 3]


def test_a_producer_killed_before_it_moved_the_tail_on_is_helped(queue: LockFreeTxQueue) -> None:
    # Its last publication is undone as far as the tail and its own bookkeeping go: as if killed right after the slot.
    script = """
        put(1)
        control = int(queue.words[ring_layout.CONTROLS_AT]) + producer.index * ring_layout.CONTROL_WORDS
        before = queue.words[control : control + 16].copy()
        tail = queue.words[ring_layout.TAIL]
        put(2)
        queue.words[control : control + 16] = before
        queue.words[ring_layout.TAIL] = tail
        die()
    """
    assert run(queue, script) == -signal.SIGKILL
    put(queue, 3)
    assert tokens(FrameReceiver(queue).receive()) == [1, 2, 3]
    metrics = queue.get_queue_metrics()
    assert (metrics.frames_enqueued, metrics.frames_dequeued, metrics.size) == (3, 3, 0)


def test_a_stopped_producer_stalls_nobody(queue: LockFreeTxQueue) -> None:
    script = "put(1); ring.claim(queue.words, producer.index, 5, 0); os.kill(os.getpid(), signal.SIGSTOP); put(99)"
    with process(queue, script) as child:
        assert os.WIFSTOPPED(os.waitpid(child.pid, os.WUNTRACED)[1])
        receiver = FrameReceiver(queue)
        assert tokens(receiver.receive()) == [1]
        for token in range(2, 200):
            put(queue, token)
            assert tokens(receiver.receive()) == [token]
        os.kill(child.pid, signal.SIGCONT)
        child.wait(60)
        assert tokens(receiver.receive()) == [99]


def test_dead_processes_producers_are_used_again_once_their_frames_are_taken(queue: LockFreeTxQueue) -> None:
    fill = "more = [queue.register() for _ in range(7)]; put(1); die()"
    assert run(queue, fill) == -signal.SIGKILL
    held = [queue.register() for _ in range(7)]
    with pytest.raises(ProducersExhausted, match="still waiting"):
        queue.register()
    assert tokens(FrameReceiver(queue).receive()) == [1]
    held.append(queue.register())
    assert sorted(producer.index for producer in held) == list(range(8))


def test_killing_producers_at_random_moments_loses_only_what_was_not_published(queue: LockFreeTxQueue) -> None:
    random = np.random.default_rng(7)
    receiver = FrameReceiver(queue)
    for _ in range(3):
        with process(queue, "put(0)\nfor number in range(1, 1 << 30): put(number, 1 + number % 9)") as child:
            assert queue.wait(60)
            got: list[int] = []
            until = time.monotonic() + random.uniform(0, 0.02)
            while time.monotonic() < until:
                got += tokens(receiver.receive())
            child.kill()
            child.wait()
        while frames := tokens(receiver.receive()):
            got += frames
        assert got == list(range(len(got)))
        assert len(got) > 0
        put(queue, 5)
        assert tokens(receiver.receive()) == [5]
    assert queue.get_queue_metrics().size == 0


def test_a_sleeping_consumer_is_woken_from_another_process(queue: LockFreeTxQueue) -> None:
    with process(queue, "while queue.get_queue_metrics().parks == 0: pass\nput(1)"):
        assert queue.wait(60)
    assert tokens(FrameReceiver(queue).receive()) == [1]
    assert queue.get_queue_metrics().parks == 1


def test_a_forked_child_may_not_write_as_its_parent(queue: LockFreeTxQueue) -> None:
    script = """
        from txqueue.errors import QueueClosed
        if os.fork() == 0:
            try:
                producer.enqueue(make(1, 1).records)
            except QueueClosed:
                frame = make(7, 1)
                queue.enqueue(frame.records, token=7)
            os._exit(0)
        os.wait()
        put(8)
    """
    assert run(queue, script) == 0
    assert tokens(FrameReceiver(queue).receive()) == [7, 8]


def test_a_fork_leaves_the_producers_of_other_threads_to_the_parent(queue: LockFreeTxQueue) -> None:
    script = """
        import threading
        registered, forked = threading.Event(), threading.Event()

        def enqueue_before_and_after():
            queue.enqueue(make(1, 1).records, token=1)
            registered.set()
            forked.wait()
            queue.enqueue(make(2, 1).records, token=2)

        thread = threading.Thread(target=enqueue_before_and_after)
        thread.start()
        registered.wait()
        if os.fork() == 0:
            os._exit(0)
        assert os.wait()[1] == 0
        assert queue.get_queue_metrics().producers == 2, "the child has released what the other thread still uses"
        forked.set()
        thread.join()
    """
    assert run(queue, script) == 0
    assert tokens(FrameReceiver(queue).receive()) == [1, 2]


def test_a_process_that_ends_keeps_its_place_until_none_of_its_threads_can_write(queue: LockFreeTxQueue) -> None:
    script = """
        import atexit

        def poll():  # as a thread that is a daemon may still enqueue at this moment
            owner = queue.words[int(queue.words[ring_layout.CONTROLS_AT]) + ring_layout.OWNER]
            os._exit(0 if owner else 1)
    """
    # Functions registered earlier are called later: this one after all that the package has registered.
    early = "import atexit; atexit.register(lambda: look())\n"
    assert run(queue, script, first=early) == 0
    assert queue.register().index == 0, "it is dead by now"


SMALL_FILE_SYSTEM = """
mount -t tmpfs -o size=1m none {mount} && exec {python} - <<'EOF'
from pathlib import Path
import numpy as np
from txqueue.errors import RegionError
from txqueue.queue import LockFreeTxQueue
queue = LockFreeTxQueue.create(Path("{mount}/ring"), slots=64, producers=8, buffer_bytes=1 << 18)
producers = []
try:
    while True:
        producers.append(queue.register())
except RegionError as error:
    assert "No space left" in str(error), error
assert len(producers) == 3
for producer in producers:
    for _ in range(3):
        producer.enqueue(np.zeros((1000, 8), np.uint64))
EOF
"""


def test_whoever_has_a_place_has_the_space_for_it(tmp_path: Path) -> None:
    command = [require("unshare", "util-linux"), "--map-root-user", "--mount", "sh", "-ec"]
    if subprocess.run([*command, f"mount -t tmpfs none {tmp_path}"], capture_output=True, check=False).returncode:
        pytest.skip("needs the right to mount a small file system")
    script = SMALL_FILE_SYSTEM.format(mount=tmp_path, python=sys.executable)
    done = subprocess.run(
        [*command, script], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_a_process_that_sees_other_process_ids_may_not_attach(
    queue: LockFreeTxQueue, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue_module, "process_namespace", lambda: 7)
    with pytest.raises(RegionForeign, match="PID namespace"):
        LockFreeTxQueue.attach(queue.path)


def test_the_view_of_process_ids_is_that_of_the_namespaces() -> None:
    command = [
        sys.executable,
        "-c",
        "from txqueue.region.process_identity import process_namespace; print(process_namespace())",
    ]
    folder = Path(__file__).parents[2]

    def view(*wrapper: str) -> int:
        done = subprocess.run([*wrapper, *command], cwd=folder, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs the right to make a namespace: {done.stderr}")
        return int(done.stdout)

    assert view() == process_namespace()
    assert (
        view(require("unshare", "util-linux"), "--map-root-user", "--fork", "--pid", "--mount-proc")
        != process_namespace()
    )
