"""The arena's compiled code: layout, slabs, magazines, runs of pages, recovery. Start at `operations`."""
