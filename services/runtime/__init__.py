"""The process of a node: allocator and gRPC tuning, warm-up, pools, maintenance. Each file stands alone."""
