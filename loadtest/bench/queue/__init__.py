"""Queues side by side: ``penstock bench queue``."""
