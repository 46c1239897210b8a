"""What every score over training is: the predicted change of φ upon the removal of each point."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..._core import RESULTS, Shown


@dataclass(frozen=True, eq=False, repr=False)
class TrainingScores(Shown):
    """The predicted change of φ(θ(T)) upon removal of each point, one at a time.

    Example:
        >>> data = ef.Dataset(np.array([[1.0], [1.0], [2.0]]), np.array([1.0, 2.0, 3.0]))
        >>> line = ef.linear_regression(data, [0], l2=1.0)
        >>> training = {"ts": np.linspace(0.0, 5.0, 101), "functional": lambda theta: theta[0]}
        >>> ef.attribution.tracin(line, ef.Constant(1.0), np.zeros(1), **training).method
        'tracin'

    Attributes:
        change: φ without the point − φ with it, in units of φ, shape (n,), or (n, q) for a vector functional.
        error: of the changes as what their method says they are, in units of φ; not of the method's approximation.
        result: how the computation ended.
        method: "density", "tracin", "source", "early_stopped" or "converged".
    """

    change: Float[np.ndarray, "n *q"]
    error: float
    method: str
    result: RESULTS

    def _facts(self) -> dict[str, object]:
        return {
            "change": self.change,
            "largest": np.abs(self.change).max(),
            "error": self.error,
            "method": self.method,
            "result": self.result,
        }
