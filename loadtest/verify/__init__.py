"""Verification of a node's log and receipts by code that shares nothing with the node's. Start at `verify_log`."""
