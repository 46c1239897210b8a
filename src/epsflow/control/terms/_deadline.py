"""A time limit that a search looks at between its iterations."""

import time

from ..._core import InputError, as_scalar


class Deadline:
    """The moment at which a search stops with what it has.

    Attributes:
        end: in seconds of `time.monotonic`; infinite without a limit.
    """

    def __init__(self, seconds: float | None):
        """Begin to count.

        Args:
            seconds: from now; None for no limit.

        Raises:
            InputError: not a positive number.
        """
        limit = float("inf") if seconds is None else as_scalar(seconds, "time_limit")
        if limit <= 0.0:
            raise InputError(f"time_limit is {limit:g} s; a search needs a positive time, or None for no limit.")
        self.end = time.monotonic() + limit

    @property
    def passed(self) -> bool:
        """Whether time is up."""
        return time.monotonic() > self.end

    def stop(self, _: object) -> None:
        """What SciPy's minimisers ask after every iteration: ends the search when time is up."""
        if self.passed:
            raise StopIteration


UNLIMITED = Deadline(None)
"""Where nobody waits."""
