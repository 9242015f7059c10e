"""Block format: how a block's header stands in bytes, in each version of the format."""
