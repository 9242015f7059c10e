"""Segments: the files that hold the log's blocks, prepared, written, read, and found again by index."""
