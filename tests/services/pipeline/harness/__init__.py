"""What the tests of the pipeline are made with: fakes, benches, interleavings, counted allocations."""
