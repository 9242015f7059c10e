"""From the ring to a receipt: sequencer, log writer, applier, each in a thread of its own. Start at `pipeline`."""
