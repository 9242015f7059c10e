"""Values between the protocol and its host: events in, effects out, messages between nodes, what is stored."""
