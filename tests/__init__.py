"""Tests: one folder per package, mirroring it; `tests/services` holds those of a whole node."""
