"""The process that a node is: allocator, gRPC, warm-up, pools, upkeep."""
