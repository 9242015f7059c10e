"""How many objects a pool should hold, learned from its demand."""
