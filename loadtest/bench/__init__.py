"""Benchmarks of single parts, one room each where they need several files."""
