"""The lock-free transaction queue, and what it stands on: compiled code and shared regions.

Its face is `txqueue.queue.LockFreeTxQueue`.
"""
