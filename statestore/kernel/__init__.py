"""The compiled state machine: layout of its memory, hash table, heap, sessions, chains, effects of operations.

Start at `statestore.kernel.apply`, the one call per block.
"""
