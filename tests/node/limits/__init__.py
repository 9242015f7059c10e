"""Limits: what clients may make a real node hold, and how little an innocent one beside them is to notice."""
