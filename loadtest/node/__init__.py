"""Nodes in processes of their own, started for a measurement."""
