"""Variants: nodes that break one rule each, on purpose. A simulator that does not catch them all proves nothing."""
