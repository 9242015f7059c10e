"""Limits: what clients may hold of the node at once, each of them and all together."""
