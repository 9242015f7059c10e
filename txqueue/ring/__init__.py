"""The lock-free ring, many producers to one consumer, in compiled code.

Start at `txqueue.ring.ring`, which argues why it is right.
"""
