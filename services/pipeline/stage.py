"""The stage: one step of the pipeline, and the contract that all of them keep.

A stage takes work in order, does it, and submits it to the stage behind it. Its methods may be called by any thread:

========  ==============================================  ====================  ======================================
method    what it does                                    blocks                who calls it
========  ==============================================  ====================  ======================================
submit    adds work                                       never                 the stage before it
stop      no more work comes: end once all is passed on   never                 the stage before it when it ends; for
                                                                                the first stage, who stops the pipeline
drain     waits for that end                              until it has ended;   who stops the pipeline, never a stage
                                                          the commit gate for
                                                          a bounded time
fail      end now, with what is left undone               never                 the stage itself where its work raises;
                                                                                the pipeline where a later stage failed
========  ==============================================  ====================  ======================================

`submit` raises `ChannelClosed` once a stage was stopped or has failed, and the work is the caller's still. The other
three raise nothing, and calling them again changes nothing. The first stage, the sequencer, is submitted to through the
ring: a frame that is published there is submitted.

An end travels down: a stage that ends, in whatever way, stops the stage behind it, since what it has passed on is as
good as ever. A failure travels up: the stages before a failed one fail too, as nobody will take what they make. They
notice when they submit, or when the pipeline tells them; a call that one of them is in is finished first.

However a stage ends, it is left closed and empty: buffers that it held are released, queries that it held are answered
by an error, and nobody waits for it.
"""

from typing import Protocol, TypeVar

Item_contra = TypeVar("Item_contra", contravariant=True)


class Intake(Protocol[Item_contra]):
    """A stage as the one before it sees it."""

    @property
    def closed(self) -> bool:
        """Whether work is refused."""

    def submit(self, item: Item_contra, /) -> None:
        """Add work; see the module's table.

        Raises:
            ChannelClosed: the stage was stopped or has failed; the item is still the caller's.
        """

    def stop(self) -> None:
        """Announce that no more work comes; see the module's table."""


class Stage(Protocol):
    """A stage as the pipeline sees it."""

    @property
    def closed(self) -> bool:
        """Whether work is refused."""

    def stop(self) -> None:
        """Announce that no more work comes; see the module's table."""

    def drain(self) -> None:
        """Wait for the stage's end; see the module's table."""

    def fail(self, error: BaseException) -> None:
        """End now; see the module's table."""
