"""Compiled code: decorators, the cache of machine code, atomics, the processor, raw memory."""
