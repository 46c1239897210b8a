"""The maximum of D(μ), by BFGS.

Each step of each search waits for the others', which SciPy's minimisers cannot.
"""

from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from ._dual import DualBound, evaluate_dual
from ._paths import Paths, Request, Stretch, one_sign
from ._sets import Reach
from ._together import Search, run

MAX_ITERATIONS = 60
PATIENT, CLOSE = 200, 1e-12
"""Iterations from any start, and what D may then lack as a fraction of it."""


def maximise_dual(paths: Paths, mu: Float[np.ndarray, " k"], signs: Int[np.ndarray, " m"]) -> DualBound:
    """The largest D of the first problem of `paths`, whose residuals keep their signs; from the given μ.

    It is approached until ½‖∇D‖² ≤ `CLOSE` · D. That is at once the gap to the cost of the schedule that attains the
    linear part: at L δ(T) = μ + ∇D.
    """
    task = paths.tasks[0]
    given = Reach.of(0, task), mu, [one_sign(task, signs)]
    _, best = run(maximise(*given, lambda value, gap, _: gap <= CLOSE * value, PATIENT), paths)
    return evaluate_dual(paths, best, signs)


def maximise(
    reach: Reach,
    mu: np.ndarray,
    stretches: Sequence[Stretch],
    enough: Callable[[float, float, float], bool],
    max_iterations: int = MAX_ITERATIONS,
) -> Search[tuple[float, Float[np.ndarray, " k"]]]:
    """max D(μ), by BFGS with a shortened step, until D, ½‖∇D‖² and what D lacks at most are `enough`.

    D(μ) = h(μ) − ½‖μ‖², where h(μ), the least μᵀy over a convex set of y, has degree one: of all multiples of μ, the
    one by h/‖μ‖² is the best, and its path is the same. The largest D is half the squared distance of that set from 0,
    so D cannot exceed ½‖y‖² for any y in it: the ends y = μ + ∇D of the paths, and what lies between two of them.
    With y = μ + ∇D itself that is D + ½‖∇D‖².
    """
    value, gradient = yield from dual(reach, mu, stretches)
    size = float(mu @ mu)
    least = value + 0.5 * size
    if least > 0.0 < size:
        share = least / size
        mu, value, gradient = share * mu, 0.5 * share * least, gradient + (1.0 - share) * mu
    nearest, inverse = mu + gradient, np.eye(len(mu))
    for _ in range(max_iterations):
        gap = 0.5 * float(gradient @ gradient)
        if enough(value, gap, min(gap, 0.5 * float(nearest @ nearest) - value)):
            break
        step, size = inverse @ gradient, 1.0
        rise = float(gradient @ step)
        while True:
            then, slope = yield from dual(reach, mu + size * step, stretches)
            if then >= value + 1e-4 * size * rise or size < 1e-6:
                break
            # Where the slope along the step vanishes, if it falls evenly.
            size *= min(0.7, max(0.1, rise / max(rise - float(slope @ step), 1e-300)))
        moved, bent = size * step, gradient - slope
        along = float(moved @ bent)
        if then <= value or along <= 0.0:  # a step so short that ∇D no longer tells its curvature
            break
        image = inverse @ bent
        inverse += np.outer(moved, moved) * ((along + float(bent @ image)) / along**2)
        inverse -= (np.outer(image, moved) + np.outer(moved, image)) / along
        mu, value, gradient = mu + moved, then, slope
        nearest = _nearest(nearest, mu + gradient)
    return value, mu


def _nearest(first: Float[np.ndarray, " k"], second: Float[np.ndarray, " k"]) -> Float[np.ndarray, " k"]:
    """The point nearest to 0 between two points."""
    way = second - first
    size = float(way @ way)
    return first + min(1.0, max(0.0, -float(first @ way) / size)) * way if size > 0.0 else first


def dual(reach: Reach, mu: np.ndarray, stretches: Sequence[Stretch]) -> Search[tuple[float, Float[np.ndarray, " k"]]]:
    """D(μ) less its rounding, and its gradient."""
    form, pi = reach.task.form, reach.task.form.pull(mu)
    (answer,) = yield [Request(reach.problem, pi[None], stretches, forward=True)]
    value = float(answer.least[0]) - 0.5 * float(mu @ mu) - reach.rounding * float(np.linalg.norm(pi))
    return value, form.image(answer.deltas[0]) - mu
