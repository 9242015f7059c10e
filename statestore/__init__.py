"""The deterministic state machine and its tables."""
