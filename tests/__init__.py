"""The tests, in folders like those of what they test; whole nodes, model checking and installations apart."""
