"""The clients: typed operations in, one result for each transaction out. Start at `async_client`."""

import os

# gRPC's own fork handlers give up where a client's poller runs, and what they have begun by then crashes the child. A
# client that a child makes does not use gRPC's library: `penstock.client.process`.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
