"""The deterministic state machine, its tables, and reads of them.

Start at `statestore.state_machine`; `statestore.kernel` is what it compiles.
"""
