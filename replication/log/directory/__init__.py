"""What a log's directory holds beside its segments: who may write it, whose it is, where it begins and is durable."""
