"""Watching the log: committed blocks as they come, and their transactions decoded. Start at `watched_block`."""
