"""The write-ahead log: blocks in segment files. Start at `write_ahead_log`, which names the files of a block's path."""
