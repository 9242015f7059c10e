"""Errors of queues and regions, each with what to do about it."""


class QueueError(Exception):
    """The root of this package's errors."""


class QueueFull(QueueError):
    """There is no room for the frame now. Try again after the consumer has caught up, or ask the sender to."""


class FrameTooLarge(QueueError):
    """The frame exceeds a limit and will never fit. Split it."""


class BodyTooSmall(QueueError):
    """The buffer given for a batch cannot hold even the first frame. Pass a larger one."""


class ConsumerBusy(QueueError):
    """Another consumer, which lives, holds the claim. Let it close its queue, or take over where it does not answer."""


class ConsumerFenced(QueueError):
    """Another consumer took over: what this one had under way was not committed by it. Forget that, and stop."""


class ProducersExhausted(QueueError):
    """All producers are registered. Close some, or create the queue with more."""


class QueueClosed(QueueError):
    """The queue or the producer was closed, or belongs to the parent process of a fork. Open or register anew."""


class RegionError(QueueError):
    """A file cannot be used as a region."""


class RegionForeign(RegionError):
    """The file is not a region, is one of something else, or was written by a machine of another byte order."""


class RegionVersionUnsupported(RegionError):
    """The region was laid out by another version of this software. Use that one, or remove the file."""


class RegionTruncated(RegionError):
    """The file is shorter than its header says, or was never completed. Remove it and create it anew."""
