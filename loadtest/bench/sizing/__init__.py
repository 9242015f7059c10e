"""Policies of pool sizing on the same traces: ``penstock bench sizing``."""
