"""What carries a client's transactions: batching into frames, flow control, retries, one stream kept open."""
