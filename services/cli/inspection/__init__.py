"""What ``penstock log`` shows: transactions spelled out, those that are looked for, and how far a check has come."""
