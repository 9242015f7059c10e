"""Promises: what a cluster promises, checked from outside while it runs. Nothing here asks the protocol's own code."""
