"""What a simulated node keeps: blocks in memory, its log and its promise, and the device that takes its time."""
