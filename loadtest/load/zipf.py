"""Alias method: Zipf-distributed keys in constant time per sample.

A. J. Walker (1977), with M. D. Vose's construction (1991). A sample draws one column, and then by a biased coin either
the column's own key or its alias. Rejection-inversion (Hormann and Derflinger, 1996) needs no table but
two or three logarithms per sample, about 30 ns; this needs one load, and the table of 100,000 keys fits in a cache.
"""

import numpy as np
import numpy.typing as npt

from txqueue.jit.decorators import eager


def alias_table(keys: int, exponent: float, seed: int) -> npt.NDArray[np.uint64]:
    """Build the table: ``uint64[keys]``, in each the coin's threshold << 32 | alias; empty for a uniform distribution.

    Key k's rank is a seeded permutation of k, so that popular keys are scattered over tables and cache lines.
    """
    if exponent == 0.0:
        return np.empty(0, np.uint64)
    assert 0 < keys <= 1 << 32
    weights = np.empty(keys, np.float64)
    ranks = np.random.default_rng(seed).permutation(keys)
    weights[ranks] = np.arange(1, keys + 1, dtype=np.float64) ** -exponent
    weights *= keys / weights.sum()
    table = np.empty(keys, np.uint64)
    _build(weights, np.empty(keys, np.int64), table)
    return table


@eager("void(float64[::1], int64[::1], uint64[::1])")
def _build(weights, work, table):
    """Pair columns of too little weight with columns of too much: stacks at the two ends of ``work``."""
    low, high = 0, len(weights)
    for key in range(len(weights)):
        if weights[key] < 1.0:
            work[low] = key
            low += 1
        else:
            high -= 1
            work[high] = key
    while low > 0 and high < len(weights):
        low -= 1
        poor, rich = work[low], work[high]
        table[poor] = np.uint64(weights[poor] * 4294967295.0) << np.uint64(32) | np.uint64(rich)
        weights[rich] -= 1.0 - weights[poor]
        if weights[rich] < 1.0:
            high += 1
            work[low] = rich
            low += 1
    for i in range(low):  # what rounding left over weighs 1 up to an error of about 1e-12
        table[work[i]] = np.uint64(4294967295) << np.uint64(32) | np.uint64(work[i])
    for i in range(high, len(weights)):
        table[work[i]] = np.uint64(4294967295) << np.uint64(32) | np.uint64(work[i])
