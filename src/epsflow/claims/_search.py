"""Counterexample search: random problems, a derivative-free refinement of the worst, then smaller and rounder numbers.

Everything is measured at s = 0 and θ0 = 0, which loses nothing: training up to s only moves the start, and a start θ0
is the same as targets y − Xθ0.
"""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from .._core import Shown, spelled
from ..problem import Dataset, Problem, linear_regression


class Candidate(NamedTuple):
    """Linear regression with point 0 deleted, θ0 = 0 and s = 0.

    Example:
        >>> case = ef.claims.Candidate(np.array([[1.0], [2.0]]), np.array([1.0, 2.0]), T=1.0)
        >>> case.problem.delete, case.plain()["T"]
        (array([0]), 1.0)

    Attributes:
        x, y: the data, shapes (n, d) and (n,).
        T: by when the point must be gone.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, " n"]
    T: float

    __repr__ = spelled

    @property
    def problem(self) -> Problem:
        """The weighted risk."""
        return linear_regression(Dataset(self.x, self.y), [0])

    def plain(self) -> dict[str, Any]:
        """As plain numbers."""
        return {"X": _tidy(self.x), "y": _tidy(self.y), "deleted": 0, "θ0": 0, "s": 0, "T": self.T}


Violation = Callable[[Candidate], float]
"""By how much a candidate violates a claim, relative; not above 0 where it does not. """


@dataclass(frozen=True, kw_only=True, eq=False, repr=False)
class Search(Shown):
    """How a search went.

    Example:
        >>> budget = {"points": 2, "parameters": 1, "tries": 5, "refinements": 20}
        >>> ef.claims.search(lambda case: case.y[0] - 1.0, np.random.default_rng(0), **budget).violating
        2

    Attributes:
        tried: random problems.
        violating: how many of them violated the claim.
        largest: the largest violation of a random problem.
        refined: the violation after refinement.
        found: the rounded counterexample; None if there is none.
        violation: of it.
        evaluations: of the violation, in all.
        candidates: the random problems that violated it, the worst first.
    """

    tried: int
    violating: int
    largest: float
    refined: float
    found: Candidate | None
    violation: float
    evaluations: int
    candidates: tuple[Candidate, ...]

    def _title(self) -> str:
        return "A search for counterexamples"

    def _facts(self) -> dict[str, object]:
        sizes = {"tried": self.tried, "violating": self.violating, "largest": self.largest, "refined": self.refined}
        return {**sizes, "violation": self.violation, "evaluations": self.evaluations}

    def _rows(self) -> list[dict[str, object]]:
        plain = {} if self.found is None else self.found.plain()
        return [{"counterexample": name, "": str(value)} for name, value in plain.items()]

    def words(self) -> str:
        """One sentence."""
        said = f"{self.violating} of {self.tried} random problems violate it, by up to {100.0 * self.largest:.3g} %"
        if self.found is None:
            refined = f"refined to {100.0 * self.refined:.3g} %" if self.refined > 0.0 else "refined in vain"
            return f"{said}; {refined}, and no rounded counterexample in {self.evaluations} evaluations."
        return f"{said}; refined to {100.0 * self.refined:.3g} %, rounded to one with {100.0 * self.violation:.3g} %."


CLEAR = 1e-3
"""A relative violation that counts: a thousand times what the scans of families resolve."""
KEPT = 0.01
"""A rounded counterexample has this violation, or half of the refined one if that is less."""

STEPS, TIMES, SCALES = (1.0, 0.5, 0.25), (0.5, 1.0, 0.25, 0.125), (1.0, 2.0, 3.0)
"""Numbers are rounded to multiples of the first step that keeps a clear violation, for these T and factors on y."""


def search(
    violation: Violation,
    rng: np.random.Generator,
    *,
    points: int,
    parameters: int,
    tries: int,
    refinements: int,
) -> Search:
    """Look for the problem that violates a claim most, and make it small.

    Example:
        >>> budget = {"points": 2, "parameters": 1, "tries": 5, "refinements": 20}
        >>> found = ef.claims.search(lambda case: case.y[0] - 1.0, np.random.default_rng(0), **budget)
        >>> found.tried, found.violation > 0.0
        (5, np.True_)

    1. `tries` problems with normal entries, T log-uniform in [0.1, 3].
    2. Nelder–Mead (SciPy) on all numbers from the worst of them, `refinements` evaluations.
    3. The result, for several T and scales, rounded to multiples of 1, ½ or ¼; then each entry in turn is
       replaced by 0 or ±1, or moved towards 0, as long as a clear violation remains.

    Args:
        violation: what is maximised.
        rng: random numbers.
        points, parameters: n and d.
        tries, refinements: budgets.
    """
    counter = [0]

    def measured(candidate: Candidate) -> float:
        counter[0] += 1
        value = violation(candidate)
        return value if math.isfinite(value) else -math.inf

    drawn = [
        Candidate(
            rng.standard_normal((points, parameters)),
            2.0 * rng.standard_normal(points),
            float(np.exp(rng.uniform(np.log(0.1), np.log(3.0)))),
        )
        for _ in range(tries)
    ]
    values = np.array([measured(candidate) for candidate in drawn])
    order = np.argsort(-values)
    violating = tuple(drawn[i] for i in order if values[i] > CLEAR)
    start, largest = drawn[order[0]], float(values[order[0]])
    size = points * parameters

    def unpack(numbers: np.ndarray) -> Candidate:
        return Candidate(numbers[:size].reshape(points, parameters), numbers[size:-1], float(np.exp(numbers[-1])))

    first = np.concatenate([start.x.ravel(), start.y, [np.log(start.T)]])
    options = {"maxfev": refinements, "xatol": 1e-3, "fatol": 1e-4, "adaptive": True}
    refined = minimize(lambda numbers: -measured(unpack(numbers)), first, method="Nelder-Mead", options=options)
    best = unpack(refined.x) if -refined.fun > largest else start
    peak = max(-float(refined.fun), largest)
    found, value = _round(best, min(KEPT, 0.5 * peak), measured) if peak > CLEAR else (None, 0.0)
    return Search(
        tried=tries,
        violating=len(violating),
        largest=max(largest, 0.0),
        refined=max(peak, 0.0),
        found=found,
        violation=value,
        evaluations=counter[0],
        candidates=violating,
    )


def _round(best: Candidate, enough: float, measured: Violation) -> tuple[Candidate | None, float]:
    """The first of ever finer roundings that is still a counterexample, made smaller entry by entry."""
    for step, T, scale in itertools.product(STEPS, TIMES, SCALES):
        # Rows and targets times a run through the same path in T/a²; a factor on the targets is one of θ.
        a = math.sqrt(best.T / T)
        rounded = Candidate(np.round(a * best.x / step) * step, np.round(a * scale * best.y / step) * step, T)
        if _regular(rounded) and measured(rounded) > enough:
            return _shrink(rounded, enough, measured)
    return None, 0.0


def _shrink(candidate: Candidate, enough: float, measured: Violation) -> tuple[Candidate, float]:
    """Replace entries by smaller whole numbers while the violation stays clear; two sweeps."""
    n, d = candidate.x.shape
    for _ in range(2):
        for index in range(n * d + n):
            for smaller in _smaller(_entries(candidate)[index]):
                numbers = _entries(candidate)
                numbers[index] = smaller
                tried = Candidate(numbers[: n * d].reshape(n, d), numbers[n * d :], candidate.T)
                if _regular(tried) and measured(tried) > enough:
                    candidate = tried
                    break
    return _upright(candidate), measured(candidate)


def _upright(candidate: Candidate) -> Candidate:
    """The same problem with a positive first entry in every row: (x_i, y_i) and (−x_i, −y_i) are one loss."""
    leading = np.array([row[np.flatnonzero(row)[0]] if row.any() else 1.0 for row in candidate.x])
    signs = np.sign(leading)
    return candidate._replace(x=candidate.x * signs[:, None] + 0.0, y=candidate.y * signs + 0.0)


def _entries(candidate: Candidate) -> np.ndarray:
    return np.concatenate([candidate.x.ravel(), candidate.y])


def _smaller(value: float) -> list[float]:
    """Simpler numbers than this one, the simplest first."""
    sign = math.copysign(1.0, value)
    return [other for other in (0.0, sign, 2.0 * sign, 3.0 * sign) if abs(other) < abs(value)]


def _regular(candidate: Candidate) -> bool:
    """Whether the retained points determine the optimum, and the deleted one is not zero."""
    retained = candidate.x[1:]
    return bool(
        np.abs(candidate.x[0]).max() > 0.0
        and np.linalg.matrix_rank(retained) == retained.shape[1]
        and np.linalg.cond(retained) < 1e3
    )


def _tidy(array: np.ndarray) -> list[Any]:
    whole = np.all(array == np.round(array))
    return (array.astype(int) if whole else array).tolist()
