"""Faults: which there are, which befall a schedule and when, and how they are done to a cluster."""
