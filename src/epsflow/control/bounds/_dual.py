"""Lower bounds on 𝓔 over all admissible schedules, in continuous time and without a mesh (linear regression).

With w_j = u_j e_j the dynamics δ̇ = −Λδ + f − Σ w_j x_j are linear, and where the sign σ_j of e_j is the same for every
admissible control, the constraint is linear too. For any π let p run backward from p(T) = π,

    ṗ = Λp + Σ_j α_j x_j (x_jᵀp),    α_j = ε_max where σ_j x_jᵀp > 0, else ε_min.

Then d(pᵀδ)/dt = pᵀf + Σ_j α_j r_j x_jᵀp + Σ_j (x_jᵀp)(α_j − u_j) e_j with a last sum ≥ 0. A cost ½‖Lδ‖² is at least
μᵀLδ − ½‖μ‖², so with π = Lᵀμ it is

    ≥ D(μ) = −½‖μ‖² + p(s)ᵀδ(s) + ∫_s^T (pᵀf + Σ_j α_j r_j x_jᵀp) dt,

with equality at μ = Lδ*(T). D is concave, and ∇D = −μ + Lδ_α(T). The same backward path from σ_j x_j gives the least
value of σ_j e_j at every time at once, because it does not depend on where it ends: that certifies the signs.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ..._core import InputError
from ..linear._exponentials import ExponentialSum, first_not_positive, resolving_grid
from ..linear._pencil import coordinates
from ..linear._task import LinearTask
from ._paths import PathArc, Paths, Request, Trace, one_sign


@dataclass(frozen=True, eq=False)
class SignCertificate:
    """Whether each e_j = x_jᵀθ − y_j keeps its sign on [s, T] under every admissible schedule.

    Attributes:
        signs: the sign of e_j(s), shape (m,).
        margins: the least σ_j e_j over all times and schedules, while all signs hold, in units of √c·y; shape (m,).
        settled: all margins are positive, or their e_j constant.
        until: up to when the signs are certain; T where `settled`.
    """

    signs: Int[np.ndarray, " m"]
    margins: Float[np.ndarray, " m"]
    settled: bool
    until: float


@dataclass(frozen=True, eq=False)
class DualBound:
    """D(Lz): no admissible schedule has a smaller cost ½‖Lδ(T)‖². For the distance, L = I.

    Attributes:
        value: D.
        rounding: first-order bound on the rounding error of `value`.
        pi: π = LᵀLz in the coordinates of θ, shape (d,).
        gradient: the derivative by z, LᵀL(δ_α(T) − z), shape (d,); zero at the best z.
        knots, levels: the schedule α that attains the bound's linear part, from s to T; per-point levels (K, m).
    """

    value: float
    rounding: float
    pi: Float[np.ndarray, " d"]
    gradient: Float[np.ndarray, " d"]
    knots: Float[np.ndarray, " knots"]
    levels: Float[np.ndarray, "arcs m"]

    @property
    def certain(self) -> float:
        """D less its rounding."""
        return self.value - self.rounding


def settled_signs(task: LinearTask, wanted: str) -> Int[np.ndarray, " m"]:
    """σ_j, or a refusal where an e_j can change its sign.

    Raises:
        InputError: the problem is then not the convex one that `wanted` needs.
    """
    signs = certify_signs(Paths([task]))
    if not signs.settled:
        raise InputError(
            f"{wanted} needs residuals e_j = x_jᵀθ − y_j of the deleted points that keep their signs under every "
            f"admissible schedule; here that is certain only until t = {signs.until:g} (margins {signs.margins}). "
            'Use method="auto", which branches on the sign.'
        )
    return signs.signs


def evaluate_dual(
    paths: Paths, mu: Float[np.ndarray, " k"], signs: Int[np.ndarray, " m"], problem: int = 0
) -> DualBound:
    """D(μ) of one of the problems of `paths`; the signs are the caller's responsibility."""
    task, eps = paths.tasks[problem], np.finfo(np.float64).eps
    pi = task.form.pull(mu)
    (path,) = paths.trace(Request(problem, pi[None], [one_sign(task, signs)]))
    rate = max(float(np.abs(arc.spectrum.rates).max()) for arc in path.arcs)
    gradient = task.form.image(path.delta) - mu
    knots = task.T - np.array([arc.start for arc in path.arcs])
    return DualBound(
        value=path.least - 0.5 * float(mu @ mu),
        rounding=len(pi) * eps * (1.0 + rate * task.T) * float(np.linalg.norm(pi)) * path.largest,
        pi=task.basis @ pi,
        gradient=task.basis @ task.form.pull(gradient),
        knots=np.append(knots, task.s)[::-1],
        levels=np.array([arc.level for arc in path.arcs])[::-1],
    )


def certify_signs(paths: Paths, problem: int = 0) -> SignCertificate:
    """For one of the problems of `paths`: whether its residuals keep the signs that they have at s."""
    task = paths.tasks[problem]
    signs = np.where(task.residual(task.start) < 0.0, -1, 1)
    traced = paths.trace(Request(problem, signs[:, None] * task.rows, [one_sign(task, signs)]))
    offsets = (signs * task.residuals).tolist()
    found = [least_along(task, path, offset) for path, offset in zip(traced, offsets, strict=True)]
    exits, margins = (np.array(part) for part in zip(*found, strict=True))
    lasting = (margins > 0.0) | ~task.rows.any(axis=1)  # e_j = −r_j for ever where x_j = 0
    settled, until = bool(lasting.all()), float(exits.min(where=~lasting, initial=np.inf))
    return SignCertificate(signs, margins, settled, task.T if settled else task.s + min(until, task.length))


def least_along(task: LinearTask, path: Trace, offset: float = 0.0, after: float = 0.0) -> tuple[float, float]:
    """When the least value of πᵀδ − offset is first ≤ 0, ∞ if never; and the least of it up to then.

    Args:
        task: the problem.
        path: backward from π; what it separates does not depend on where it ends.
        offset: what is subtracted.
        after: elapsed time from which on it is looked at.
    """
    least = np.inf
    for arc in path.arcs:
        if arc.start + arc.duration <= after:
            continue
        spectrum, start = arc.spectrum, arc.spectrum.to_basis(task.start)

        def value(ts: np.ndarray, arc: PathArc = arc, start: np.ndarray = start) -> np.ndarray:
            return coordinates(arc.spectrum, start, ts) @ arc.costate + arc.collected - offset

        slope = ExponentialSum(arc.costate * (spectrum.drift - spectrum.rates * start), spectrum.rates)
        grid = resolving_grid(spectrum.rates, arc.duration)
        first, lowest = first_not_positive(value, slope, grid, max(after - arc.start, 0.0))
        least = min(least, lowest)
        if first < np.inf:
            return arc.start + first, least
    return np.inf, least
