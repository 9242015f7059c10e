"""Cluster: simulated nodes, each a real core, log and state machine, with the clients that use them."""
