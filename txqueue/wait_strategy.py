"""What a consumer spends on seeing a frame sooner. A file of its own, as settings name it and compile nothing."""

from enum import StrEnum


class WaitStrategy(StrEnum):
    """What a consumer does while nothing waits."""

    SPIN = "spin"
    """Look all the time. Wants a core of its own; sees a frame after some hundred nanoseconds."""
    YIELD = "yield"
    """Spin for a few microseconds, then look between turns of other threads. Idle, it takes what nobody else wants."""
    PARK = "park"
    """Spin, yield a few times, then sleep until a producer wakes it: some ten microseconds, and no time when idle."""
