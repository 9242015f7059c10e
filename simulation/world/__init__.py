"""World: what surrounds a simulated node, all of it moved by one timeline: time, network, disks, the coordinator."""
