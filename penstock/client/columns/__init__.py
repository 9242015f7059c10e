"""Columns: transactions by the million, made from arrays without Python's work for each. Start at `builders`."""
