"""The clients: typed operations in, one result for each transaction out. Start at `async_client`."""
