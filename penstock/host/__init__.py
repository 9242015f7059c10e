"""The host as code sees it: time and threads. Real ones by default, a simulation's in their place.

Code in an event loop takes both from the loop instead, and randomness from a ``random.Random`` that it is given.
"""
