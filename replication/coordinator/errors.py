"""Errors of coordinators: what is wrong, and what to do about it."""


class CoordinatorError(Exception):
    """A coordinator cannot be used as it is."""


class CoordinatorUnavailable(CoordinatorError):
    """It did not answer in time; whether a change was made is unknown: read the record before trying again."""


class CoordinatorForeign(CoordinatorError):
    """It belongs to another cluster."""


class CoordinatorElsewhere(CoordinatorError):
    """Its file stands on, or was made by, another machine, or where several machines can open it."""


class CoordinatorDamaged(CoordinatorError):
    """Its file is no coordinator's, or of a newer version."""
