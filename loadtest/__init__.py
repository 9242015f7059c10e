"""The load test: loads a node, measures it, and verifies every answer from the node's log. Start at `load.demo`.

The load generator and the verification have their own copies of the contract's limits, codes and formats, on purpose: a
mistake in the node's copy cannot hide itself in both.
"""
