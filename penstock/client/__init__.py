"""Clients, blocking and for asyncio: typed operations in, one result per transaction out. Start at `async_client`."""
