"""The connection to a node as an application sees it: events, and the log."""
