"""Nodes in processes of their own, for measurements and tests. Start at `node_process`."""
