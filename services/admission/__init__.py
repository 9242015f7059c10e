"""Admission: validation of frames, room for their effects, limits. Start at `admission`."""
