"""Memory that is allocated once and used again."""
