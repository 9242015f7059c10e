"""Errors of transports."""


class TransportError(Exception):
    """A transport cannot begin to work."""
