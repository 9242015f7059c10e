"""Benchmarks of single parts, in a folder each where they need several files; `loadtest.cli.bench` names them all."""
