"""The command line: `main` finds the commands, the other files are the node's own."""
