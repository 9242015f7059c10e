"""The pipeline from the ring to a receipt: sequencer, log writer, commit gate, applier. Start at `pipeline`."""
