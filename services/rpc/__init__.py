"""gRPC: a service of `penstock.v1` in each ``*_service``, what they share, and in `serving` the server below them."""
