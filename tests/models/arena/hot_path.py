"""A printer of the machine code of one operation of the arena, without that of its wrappers for Python.

It runs in a process of its own: a function that was compiled before, such as the slow path, may become part of one that
is compiled after it.

Usage: python -m tests.models.arena.hot_path OPERATION
"""

import re
import sys
from typing import Any

from numba import njit

from pooling.arena.kernel import operations


def machine_code(operation: str) -> str:
    """Compiled anew: a cache keeps no assembly."""
    function = getattr(operations, operation)
    compiler: Any = njit
    compiled = compiler([function.arguments], nogil=True, _nrt=False)(function.py_func)
    assembly: str = next(iter(compiled.inspect_asm().values()))
    functions = re.findall(r"^(\w+):[^\n]*\n(.*?)^\.Lfunc_end", assembly, re.MULTILINE | re.DOTALL)
    own = re.compile(rf"_ZN7pooling5arena6kernel10operations{len(operation)}{operation}B")
    (code,) = (body for name, body in functions if own.match(name))
    return str(code)


if __name__ == "__main__":
    print(machine_code(sys.argv[1]))
