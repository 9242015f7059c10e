"""Python's garbage collector: when it runs, and how long it held everything up."""
