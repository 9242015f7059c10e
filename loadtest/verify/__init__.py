"""Proof that a node's log, results and receipts are right, by code that shares nothing with the node's."""
