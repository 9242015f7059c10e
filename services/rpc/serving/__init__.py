"""Serving: the gRPC server itself, where it listens, and the standard services that it offers. Start at `server`."""
