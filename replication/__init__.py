"""Durability of transactions: blocks, and the log that keeps them.

Start at `replication.log`.
"""
