"""Watching: what a watch is sent of the log, and how far it has got."""
