"""Loads a node, measures what it does, and proves afterwards that what it did is right."""
