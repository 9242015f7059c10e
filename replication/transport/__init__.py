"""What carries the protocol's messages, and the blocks that go with them, from one node to another."""
