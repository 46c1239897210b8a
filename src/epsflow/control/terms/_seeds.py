"""What a schedule costs seed by seed."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..._core import spelled, with_error


class SeedCosts(NamedTuple):
    """Costs of trainings that differ by their seeds alone.

    Example:
        >>> costs = ef.control.SeedCosts(np.array([1.0, 3.0]), np.array([2.0, 4.0]))
        >>> costs.mean, costs.standard_error
        (3.0, 1.0)

    Attributes:
        chosen: of the seeds for whose mean a schedule was chosen, shape (k,).
        held_out: of seeds that had no part in it, shape (h,); empty without any.
    """

    chosen: Float[np.ndarray, " k"]
    held_out: Float[np.ndarray, " h"]
    __repr__ = spelled  # pyright: ignore[reportAssignmentType]

    @property
    def mean(self) -> float:
        """Of the held-out seeds; NaN without any."""
        return float(self.held_out.mean()) if len(self.held_out) else float("nan")

    @property
    def standard_error(self) -> float:
        """Of that mean, by the spread of the held-out seeds; NaN for fewer than two."""
        count = len(self.held_out)
        return float(self.held_out.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan")

    @property
    def facts(self) -> dict[str, object]:
        """For one line."""
        return {"held_out": self.mean} if len(self.held_out) else {}

    @property
    def figures(self) -> dict[str, object]:
        """For a summary."""
        several: dict[str, object] = {}
        if len(self.chosen) > 1:
            several["over seeds"] = f"{self.chosen.min():.6g} to {self.chosen.max():.6g}"
        if not len(self.held_out):
            return several
        spread = "" if len(self.held_out) == 1 else with_error(self.mean, self.standard_error)
        return several | {"held-out cost": f"{spread or f'{self.mean:.6g}'} ({len(self.held_out)} seeds)"}
