"""The protocol by which logs on several nodes agree: a pure state machine. Its face is `core.Core`.

What goes in and comes out stands in `interface`: events, effects, and the messages between nodes.
"""
