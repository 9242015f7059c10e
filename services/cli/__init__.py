"""The command line of a node, a file for each command. Start at `main`, which finds the commands."""
