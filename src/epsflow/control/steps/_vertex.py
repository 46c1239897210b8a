"""An attainable point by weights of which as few as possible lie between the bounds.

Many controls end in one point. Hold those weights that are on a bound there, u = a or b, and let the F others be forces
w, a e ≤ w ≤ b e: the iterates are linear in them, and so are the residuals. If F exceeds the k numbers of Lδ_N, some
direction of w leaves Lδ_N where it is, and following it until a constraint is met puts one more weight on its bound
(Carathéodory's argument). A residual that reaches zero before its sign could change ends the way, too.
"""

import numpy as np
from jaxtyping import Bool, Float

from ._task import StepTask, run

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
    direction = np.zeros_like(weights)
    direction[between] = np.linalg.svd(_pushes(task, held)[:, between])[2][-1]
    along = _response(task, held, direction)
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
    found = np.where(between, np.clip(quotient, low, high), weights)
    for level in (low, high):
        found = np.where(np.abs(found - level) <= CLOSE * (high - low), level, found)
    return found if ((found > low) & (found < high)).sum() < between.sum() else None


def _pushes(task: StepTask, held: Float[np.ndarray, "N m"]) -> Float[np.ndarray, "k N m"]:
    """∂Lδ_N/∂w of every force, where the held weights answer to what it does."""
    linear, eta = task.linear, task.size
    factor = linear.form.factor
    p = np.diag(factor) if factor.ndim == 1 else factor
    q, found = np.zeros_like(p), np.empty((len(p), *held.shape))
    for k in range(len(held) - 1, -1, -1):
        y = eta * (p + q)
        pulls = y @ linear.rows.T
        found[:, k] = -pulls
        p, q = p - y * linear.rates - (held[k] * pulls) @ linear.rows, task.momentum * y / eta
    return found


def _response(
    task: StepTask, held: Float[np.ndarray, "N m"], direction: Float[np.ndarray, "N m"]
) -> Float[np.ndarray, "N m"]:
    """How the residuals change with the forces."""
    linear, eta = task.linear, task.size
    delta, velocity, found = np.zeros_like(linear.start), np.zeros_like(linear.start), np.empty_like(held)
    for k in range(len(held)):
        found[k] = linear.rows @ delta
        force = held[k] * found[k] + direction[k]
        velocity = task.momentum * velocity - eta * (linear.rates * delta + force @ linear.rows)
        delta = delta + velocity
    return found
