"""Blocks and the write-ahead log that keeps them; start at ``wal.py``, which names the files a block passes through."""
