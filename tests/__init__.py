"""The tests, in folders like those of what they test; whole nodes, model checking and installations apart."""

import os
from pathlib import Path

# Test processes that run at once have caches of machine code of their own: numba takes the same file name for two
# signatures that two processes compile at the same time, and one process then runs the other's code.
if worker := os.environ.get("PYTEST_XDIST_WORKER"):
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(__file__).parents[1] / "build" / "kernels" / worker))
