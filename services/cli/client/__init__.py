"""The commands that call a node: they use the client as any program does, and nothing of the node. Start at `call`."""
