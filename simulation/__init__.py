"""Whole clusters in one process, driven from a seed: the real core, log and state machine in a virtual world.

Nothing here is real time, network or disk; so a schedule of faults takes milliseconds, and one that breaks a promise
happens again from its seed, event by event.
"""
