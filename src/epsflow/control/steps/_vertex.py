"""An attainable point by weights of which as few as possible lie between the bounds.

Many controls end in one point. Hold those weights that are on a bound there, u = a or b, and let the F others be forces
w, a e ≤ w ≤ b e: the iterates are linear in them, and so are the residuals. If F exceeds the k numbers of Lδ_N, some
direction of w leaves Lδ_N where it is, and following it until a constraint is met puts one more weight on its bound
(Carathéodory's argument). A residual that reaches zero before its sign could change ends the way, too.
"""

import numpy as np
from jaxtyping import Bool, Float

from ..terms._window import on_bounds
from ._task import StepTask, pulls, run

CLOSE = 1e-9
"""How far, relative to the bounds' distance, rounding may leave a weight from the bound that it has met."""


def fewest_between(task: StepTask, weights: Float[np.ndarray, "N m"]) -> Float[np.ndarray, "N m"]:
    """Weights with the same Lδ_N, to rounding, at most k of them between the bounds; what they were where it fails."""
    low, high = task.bounds
    best, image = weights, task.linear.form.image(run(task, weights).deltas[-1])
    allowed = task.linear.form.norm * task.rounding(task.radius) + 1e-12 * float(np.linalg.norm(image))
    while True:
        between = (best > low) & (best < high)
        if int(between.sum()) <= len(image):
            return best
        found = _one_less(task, best, between)
        moved = task.linear.form.image(run(task, found).deltas[-1]) if found is not None else np.inf
        if found is None or np.linalg.norm(moved - image) > allowed:
            return best
        best = found


def _one_less(
    task: StepTask, weights: Float[np.ndarray, "N m"], between: Bool[np.ndarray, "N m"]
) -> Float[np.ndarray, "N m"] | None:
    """One weight more on a bound; None where the direction meets none."""
    low, high = task.bounds
    held, path = np.where(between, 0.0, weights), run(task, weights)
    forces = weights * path.residuals
    form, direction = task.linear.form, np.zeros_like(weights)
    pushes = np.empty((*form.factor.shape[:1], *held.shape))  # −∂Lδ_N/∂w, where the held weights answer to it
    for k, pull in pulls(task, form.pull(np.eye(len(pushes))), lambda k, _: held[k]):
        pushes[:, k] = pull
    direction[between] = np.linalg.svd(pushes[:, between])[2][-1]
    along = run(task.homogeneous, held, direction).residuals
    # g(t) = g + t g' ≥ 0: signs of residuals, and of what is left to either bound.
    sides = np.where(path.residuals < 0.0, -1.0, 1.0)
    rooms = [(sides * path.residuals, sides * along)]
    for level, sign in ((low, 1.0), (high, -1.0)):
        room = sign * sides * (forces - level * path.residuals)
        slope = sign * sides * (direction - level * along)
        rooms.append((np.where(between, np.maximum(room, 0.0), np.inf), np.where(between, slope, 0.0)))
    steps = []
    for way in (1.0, -1.0):
        with np.errstate(divide="ignore", invalid="ignore"):
            ends = [np.where(way * slope < 0.0, room / np.abs(slope), np.inf) for room, slope in rooms]
        steps.append((min(float(each.min()) for each in ends), way))
    step, way = min(steps)
    if not np.isfinite(step):
        return None
    residuals = path.residuals + way * step * along
    quotient = (forces + way * step * direction) / np.where(residuals == 0.0, 1.0, residuals)
    found = np.where(between, on_bounds(quotient, task.bounds, CLOSE), weights)
    return found if ((found > low) & (found < high)).sum() < between.sum() else None
