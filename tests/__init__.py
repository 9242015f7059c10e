"""The tests, in folders like those of what they test; whole nodes, model checking and installations apart."""

import os
import shutil
from pathlib import Path

# Test processes that run at once have caches of machine code of their own: numba takes the same file name for two
# signatures that two processes compile at the same time, and one process then runs the other's code. They begin with
# what is in the checkout's cache.
if (worker := os.environ.get("PYTEST_XDIST_WORKER")) and "NUMBA_CACHE_DIR" not in os.environ:
    root = Path(__file__).parents[1]
    caches = root / "build" / "kernels" / worker
    os.environ["NUMBA_CACHE_DIR"] = str(caches)
    for cache in (root / "txqueue" / "__pycache__").glob("kernels-*"):
        if not (caches / cache.name).exists():
            shutil.copytree(cache, caches / cache.name)
