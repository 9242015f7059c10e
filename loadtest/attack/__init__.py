"""Attack: hostile processes beside one honest client on a real node, and what harm they do to it."""
