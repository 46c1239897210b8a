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
    """The largest D of the first problem of `paths`, whose residuals keep their signs; from the given μ."""
    reach = Reach.of(0, paths.tasks[0])
    return evaluate_dual(paths, run(maximising(reach, mu, CLOSE, PATIENT), paths), signs)


def maximising(
    reach: Reach, mu: np.ndarray, tolerance: float, max_iterations: int = MAX_ITERATIONS
) -> Search[Float[np.ndarray, " k"]]:
    """Where D(μ) is largest, if the residuals keep their signs; from the given μ.

    It is approached until ½‖∇D‖² ≤ tolerance · D. That is at once the gap to the cost of the schedule that attains the
    linear part: at L δ(T) = μ + ∇D.
    """
    whole = [one_sign(reach.task, reach.signs)]
    _, mu = yield from maximise(reach, mu, whole, lambda value, lack: lack <= tolerance * value, max_iterations)
    return mu


def maximise(
    reach: Reach,
    mu: np.ndarray,
    stretches: Sequence[Stretch],
    enough: Callable[[float, float], bool],
    max_iterations: int = MAX_ITERATIONS,
) -> Search[tuple[float, Float[np.ndarray, " k"]]]:
    """max D(μ), by BFGS with a shortened step, until D and what it lacks at most are `enough`.

    D is concave with a curvature of at least 1 in every direction: it cannot exceed D(μ) + ½‖∇D(μ)‖².
    """
    value, gradient = yield from dual(reach, mu, stretches)
    inverse = np.eye(len(mu))
    for _ in range(max_iterations):
        if enough(value, 0.5 * float(gradient @ gradient)):
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
    return value, mu


def dual(reach: Reach, mu: np.ndarray, stretches: Sequence[Stretch]) -> Search[tuple[float, Float[np.ndarray, " k"]]]:
    """D(μ) less its rounding, and its gradient."""
    form, pi = reach.task.form, reach.task.form.pull(mu)
    (answer,) = yield [Request(reach.problem, pi[None], stretches, forward=True)]
    value = float(answer.least[0]) - 0.5 * float(mu @ mu) - reach.rounding * float(np.linalg.norm(pi))
    return value, form.image(answer.deltas[0]) - mu
