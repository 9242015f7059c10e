"""The lock-free ring, many producers to one consumer. The argument for it stands in `ring`."""
