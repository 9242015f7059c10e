"""Whatever is done to a pool, it agrees with a model that fits in a few lines."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pooling.core.errors import PoolExhausted
from pooling.core.object_pool import ObjectPool
from pooling.core.pool_options import PoolOptions
from tests.pooling.core.fake_connections import Connection, ConnectionFactory


class PoolAgainstModel(RuleBasedStateMachine):
    """The model: which connections are idle, in the order of their return, and which are lent."""

    def __init__(self) -> None:
        super().__init__()
        self.factory = ConnectionFactory()
        self.pool = ObjectPool(
            "connections",
            self.factory,
            PoolOptions(max_total=4, idle_max=3, wait_s=0, test_on_borrow=True, test_while_idle=True, tests_per_run=9),
        )
        self.max_total = 4
        self.idle: list[Connection] = []
        self.lent: list[Connection] = []

    @rule()
    def borrow(self) -> None:
        expected = self.idle.pop() if self.idle else None
        try:
            connection = self.pool.borrow_object()
        except PoolExhausted:
            assert expected is None
            assert len(self.lent) >= self.max_total
            return
        assert connection.valid
        assert connection.alive
        assert connection is expected or expected is None or not expected.valid
        self.lent.append(connection)

    @precondition(lambda self: self.lent)
    @rule(choice=st.integers(0, 9), valid=st.booleans())
    def give_back(self, choice: int, valid: bool) -> None:
        connection = self.lent.pop(choice % len(self.lent))
        connection.valid = valid
        self.pool.return_object(connection)
        if len(self.idle) < 3 and len(self.idle) + len(self.lent) < self.max_total:
            self.idle.append(connection)
        else:
            assert not connection.alive

    @rule()
    def clear(self) -> None:
        assert self.pool.clear() == len(self.idle)
        self.idle.clear()

    @rule()
    def maintain(self) -> None:
        self.pool.maintain()
        self.idle = [connection for connection in self.idle if connection.valid]
        # A test may change the order; what counts is that each is still there.
        self.idle = sorted(
            self.idle, key=lambda connection: [pooled.item for pooled in self.pool._idle].index(connection)
        )

    @rule(total=st.integers(1, 6))
    def resize(self, total: int) -> None:
        self.pool.resize(total)
        self.max_total = total
        surplus = max(0, len(self.idle) + len(self.lent) - total)
        del self.idle[:surplus]

    @rule(idle=st.integers(0, 6))
    def prepare(self, idle: int) -> None:
        made = self.pool.prepare(idle)
        assert made == max(0, min(min(idle, 3) - len(self.idle), self.max_total - len(self.idle) - len(self.lent)))
        self.idle += self.factory.connections[len(self.factory.connections) - made :]

    @invariant()
    def agrees(self) -> None:
        metrics = self.pool.get_metrics()
        assert metrics.idle == len(self.idle)
        assert metrics.in_use == len(self.lent)
        assert metrics.size == len(self.idle) + len(self.lent) == metrics.made - metrics.destroyed
        assert all(connection.alive for connection in self.idle + self.lent)
        assert sum(connection.alive for connection in self.factory.connections) == metrics.size


TestPoolAgainstModel = PoolAgainstModel.TestCase
TestPoolAgainstModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
