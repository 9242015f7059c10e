"""The gRPC services and their server. Start at `server`."""
