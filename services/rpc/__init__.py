"""gRPC: the server, a service of `penstock.v1` in each ``*_service``, and what they share. Start at `server`."""
