"""Write-ahead log: a chain of blocks in segment files. Its face is `write_ahead_log.WriteAheadLog`.

What passes through it is a `block.Block`.
"""
