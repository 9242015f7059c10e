"""Memory that processes share: mapped regions, the identity of a process, sleeping on a word."""
