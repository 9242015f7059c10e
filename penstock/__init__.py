"""Penstock: a high-throughput transaction pipeline."""
