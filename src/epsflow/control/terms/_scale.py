"""The numbers of a family on the scale on which they are searched: logarithms where it says so."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...schedules import SearchSpace


class Scale(NamedTuple):
    """A search space, stretched.

    Attributes:
        space: of the family.
    """

    space: SearchSpace

    @property
    def lower(self) -> Float[np.ndarray, " p"]:
        """The lower bounds."""
        return self.scaled(np.array(self.space.lower))

    @property
    def upper(self) -> Float[np.ndarray, " p"]:
        """The upper bounds."""
        return self.scaled(np.array(self.space.upper))

    def scaled(self, numbers: Float[np.ndarray, "*k p"]) -> Float[np.ndarray, "*k p"]:
        """Numbers as they are searched."""
        log = self.space.log
        return np.where(log, np.log(np.where(log, numbers, 1.0)), numbers)

    def numbers(self, scaled: Float[np.ndarray, "*k p"]) -> Float[np.ndarray, "*k p"]:
        """And back."""
        log = self.space.log
        return np.where(log, np.exp(np.where(log, scaled, 0.0)), scaled)

    def at_bound(self, scaled: Float[np.ndarray, " p"]) -> tuple[str, ...]:
        """The names of those that are at a bound, to 1e-7 of the range."""
        near = 1e-7 * (self.upper - self.lower)
        on_bound = (scaled <= self.lower + near) | (scaled >= self.upper - near)
        return tuple(name for name, on in zip(self.space.names, on_bound, strict=True) if on)
