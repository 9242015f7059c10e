"""The contract of client, node and compiled code: record, limits, numbers, reasons, and the frame's bytes on the wire.

Plain integers and numpy; it imports nothing else of the project. Start at `record`.
"""
