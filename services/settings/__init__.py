"""Settings of a node. Start at `model`, which declares them; `layers` reads them from files and elsewhere."""
