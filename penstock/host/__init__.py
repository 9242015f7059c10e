"""What code asks of the host that it runs on: time and threads. Real ones by default, a simulation's in their place.

Code in an event loop takes both from the loop instead, and randomness from a ``random.Random`` that it is given.
"""
