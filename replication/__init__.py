"""What makes transactions durable: blocks and the log that keeps them.

Start at `replication.log`.
"""
