"""The compiled state machine: layout, hash table, heap, sessions, and what each operation does. Start at `apply`."""
