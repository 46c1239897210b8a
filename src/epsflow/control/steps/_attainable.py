"""The attainable δ_N: what is least of a linear functional, and the point of the convex hull nearest to the target.

Where lo ≤ e ≤ hi, the force w = u e, a ≤ u ≤ b, lies in the convex hull of a bow tie (`bounds._paths`):

    α⁻e − κ ≤ w ≤ α⁺e + κ,   α⁺ = a + φ(b − a),   α⁻ = a + (1 − φ)(b − a),   φ = hi/(hi − lo),   κ = (b − a)φ|lo|,

with φ = 1, κ = 0 where lo ≥ 0 and φ = 0, κ = 0 where hi ≤ 0, which is exact. Backward from p_N = π (`_task.pulls`),
with y = p_{k+1} + q_{k+1}, g_j = η x_jᵀy and α_j = α⁺ where g_j > 0, else α⁻,

as w_j g_j ≤ α_j g_j e_j + κ_j|g_j|, summing p_{k+1}ᵀδ_{k+1} + q_{k+1}ᵀv_{k+1} over k gives, for all controls,

    πᵀδ_N ≥ p_0ᵀδ_0 + q_0ᵀv_0 + Σ_k [η fᵀy + Σ_j (α_j g_j r_j − κ_j|g_j|)],

with equality for the forces that meet it. So the least of πᵀδ over a convex set 𝓡 that holds every
attainable δ_N is known with the point where it is taken, and ½ dist(0, L𝓡)², which is the largest
D(μ) = −½‖μ‖² + min over 𝓡 of μᵀLδ, is a lower bound on the cost. Wolfe's algorithm (P. Wolfe, "Finding the nearest
point in a polytope", 1976) finds it in finitely many such paths. With settled signs 𝓡 is the attainable set: a mixture
Σλ_i of its controls has forces Σλ_i w_i and residuals Σλ_i e_i, and is the control u = Σλ_i w_i / Σλ_i e_i, so the
bound is met.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..terms._deadline import UNLIMITED, Deadline
from ..terms._window import on_bounds
from ._task import UNIT, StepTask, pulls, run

MOST_POINTS = 2_000
"""Paths after which the nearest point is left as it is; the bound stands."""


class Hull(NamedTuple):
    """What is assumed of the forces in each step.

    Attributes:
        above, below: α⁺ and α⁻, shape (N, m).
        losses: κ, shape (N, m).
    """

    above: Float[np.ndarray, "N m"]
    below: Float[np.ndarray, "N m"]
    losses: Float[np.ndarray, "N m"]

    def slopes(self, k: int, g: Float[np.ndarray, "*n m"]) -> Float[np.ndarray, "*n m"]:
        """α of step k, for given g."""
        return np.where(g > 0.0, self.above[k], self.below[k])


def hull_of(bounds: tuple[float, float], low: Float[np.ndarray, "N m"], high: Float[np.ndarray, "N m"]) -> Hull:
    """The best hull of each bow tie, from bounds on each residual; infinite ones on the side of a known sign."""
    (a, b), mixed = bounds, (low < 0.0) & (high > 0.0)
    span = np.where(mixed, high - low, 1.0)
    phi = np.where(mixed, np.where(mixed, high, 0.0) / span, np.where(low >= 0.0, 1.0, 0.0))
    losses = (b - a) * phi * np.where(mixed, -low, 0.0)
    return Hull(a + phi * (b - a), b - phi * (b - a), losses)


def one_sign(task: StepTask, signs: Int[np.ndarray, "*N m"]) -> Hull:
    """The hull where the signs of all residuals are known; one sign for each point, or one for each step and point."""
    known = np.broadcast_to(signs, (task.count, task.points))
    return hull_of(task.bounds, np.where(known > 0, 0.0, -np.inf), np.where(known > 0, np.inf, 0.0))


class Extreme(NamedTuple):
    """The point of 𝓡 that is least in one direction.

    Attributes:
        least: πᵀδ there.
        image: Lδ, shape (k,).
        forces, residuals: w and e along its path, shape (N, m).
        pulls: |g|, shape (N, m): how much a force matters.
        largest: of |δ_k| along it.
    """

    least: float
    image: Float[np.ndarray, " k"]
    forces: Float[np.ndarray, "N m"]
    residuals: Float[np.ndarray, "N m"]
    pulls: Float[np.ndarray, "N m"]
    largest: float


def extreme(task: StepTask, hull: Hull, direction: Float[np.ndarray, " k"]) -> Extreme:
    """Where μᵀLδ is least."""
    form, along = task.linear.form, np.empty(hull.above.shape)
    for k, g in pulls(task, form.pull(direction), hull.slopes):
        along[k] = g
    up = along > 0.0
    alpha, offsets = np.where(up, hull.above, hull.below), np.where(up, hull.losses, -hull.losses)
    path = run(task, alpha, offsets if hull.losses.any() else None)
    image = form.image(path.deltas[-1])
    return Extreme(
        least=float(direction @ image),
        image=image,
        forces=alpha * path.residuals + offsets,
        residuals=path.residuals,
        pulls=np.abs(along),
        largest=float(np.abs(path.deltas).max()),
    )


@dataclass(frozen=True, eq=False)
class NearestPoint:
    """The point of L𝓡 nearest to zero.

    Attributes:
        image: the point, shape (k,).
        bound: no control of the set costs less; its rounding is taken off.
        weights: u of the mixture, within the bounds, shape (N, m).
        pulls: |g| in the direction of the point, shape (N, m).
        inside: zero is in L𝓡, and not just near a point of it: a mixture of points that are far from it.
        paths: how many paths were followed.
    """

    image: Float[np.ndarray, " k"]
    bound: float
    weights: Float[np.ndarray, "N m"]
    pulls: Float[np.ndarray, "N m"]
    inside: bool
    paths: int


FAR = 100.0
"""How much farther than rounding the points have to be whose mixture is zero."""


def nearest_point(
    task: StepTask,
    hull: Hull,
    direction: Float[np.ndarray, " k"],
    *,
    enough: float = np.inf,
    deadline: Deadline = UNLIMITED,
) -> NearestPoint:
    """Wolfe's algorithm.

    Args:
        task: the problem.
        hull: what is known of the forces.
        direction: where to begin: Lδ_N of a good control.
        enough: a bound at which to stop.
        deadline: when to stop all the same; the bound found by then stands.
    """
    corral, shares = [extreme(task, hull, direction)], np.ones(1)
    point, bound, paths, last = corral[0].image, 0.0, 1, corral[0]
    while paths < MOST_POINTS:
        size = float(point @ point)
        largest = max(each.largest for each in corral)
        error = task.linear.form.norm * task.rounding(largest)
        if size <= error**2:
            break
        last, paths = extreme(task, hull, point), paths + 1
        least = max(0.0, last.least - error * size**0.5)
        bound = max(bound, 0.5 * least**2 / size)
        noise = 16.0 * UNIT * len(point) * size**0.5 * max(float(np.abs(each.image).max()) for each in corral)
        if size - last.least <= max(noise, UNIT * size) or bound >= enough or deadline.passed:
            break
        corral, shares = _nearer([*corral, last], np.append(shares, 0.0))
        closer = shares @ np.stack([each.image for each in corral])
        if float(closer @ closer) >= size:  # rounding decides from here on
            break
        point = closer
    away = min(float(np.linalg.norm(each.image)) for each in corral)
    error = task.linear.form.norm * task.rounding(max(each.largest for each in corral))
    inside = len(corral) > 1 and bool(np.linalg.norm(point) <= error) and bool(away > FAR * error)
    return NearestPoint(point, float(bound), _mixed(task, corral, shares), last.pulls, inside, paths)


def _nearer(corral: list[Extreme], shares: np.ndarray) -> tuple[list[Extreme], np.ndarray]:
    """The nearest point of the hull of a corral and one more point: affine minima, and points that do not help out."""
    while True:
        points = np.stack([each.image for each in corral])
        moves = points[1:] - points[0]
        rest = np.linalg.lstsq(moves.T, -points[0], rcond=None)[0] if len(moves) else np.zeros(0)
        wanted = np.append(1.0 - rest.sum(), rest)
        if (wanted > 0.0).all():
            return corral, wanted
        falling = wanted <= 0.0
        step = float(np.min(shares[falling] / np.maximum(shares[falling] - wanted[falling], 1e-300)))
        shares = shares + min(step, 1.0) * (wanted - shares)
        kept = shares > 1e-12
        if kept.all():  # the step was too short to tell
            kept[np.argmin(shares)] = False
        corral, shares = [each for each, stays in zip(corral, kept, strict=True) if stays], shares[kept]
        shares = shares / shares.sum()


def _mixed(task: StepTask, corral: list[Extreme], shares: np.ndarray) -> Float[np.ndarray, "N m"]:
    """u = Σλw/Σλe, within the bounds; where no residual is left, the force does not matter."""
    forces = sum(share * each.forces for share, each in zip(shares, corral, strict=True))
    residuals = sum(share * each.residuals for share, each in zip(shares, corral, strict=True))
    safe = np.where(residuals == 0.0, 1.0, residuals)
    return on_bounds(forces / safe, task.bounds, 1e-11)  # rounding of the quotient
