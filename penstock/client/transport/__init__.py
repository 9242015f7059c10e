"""Transport of a client's transactions: frames, flow control, retries, one open stream. Start at `submit_stream`."""
