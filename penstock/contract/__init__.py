"""What client, node and compiled code agree on: record, limits, numbers, and the frame's bytes on the wire.

Plain integers and numpy; everything else stands on it, and it imports nothing of the project.
"""
