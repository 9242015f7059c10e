"""Compiled code: decorators, the cache of machine code, and what numba lacks, atomics and raw memory among it.

Start at `txqueue.jit.decorators`.
"""
