"""Pools and allocators side by side: ``penstock bench pool``."""
