"""Damped Newton for convex risks of linear models, in coordinates that know no units.

A column of the data may be measured in euros or in millions, and the columns may nearly depend on each other: the
search runs in z with θ = Bz + const, where the design XB has columns of length one, or is orthonormal where X is
ill-conditioned. Directions that X does not see (its kernel) stay where they start. Steps, stopping and verdicts are
taken in z and in the outputs f_i, which have the units of the loss's argument: nothing depends on those of θ.
"""

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

from .._core import spelled
from ..problem import GeneralisedLinear, Local

WELL_CONDITIONED = 1e-8
"""Least eigenvalue of the scaled Gram matrix below which the design is orthonormalised first."""

UNIT = np.finfo(np.float64).eps

HALVINGS = 100

SHIFTS = tuple(10.0**power for power in range(-12, 8))
"""By how much of itself the diagonal of a singular or indefinite Hessian is raised."""

FAR, CLOSE = 1e-3, 1e-6
"""A Newton step that would change an output by more of itself than the first has not arrived; the search goes on to the
second, and then takes one more, which squares what is left."""


@dataclass(frozen=True, eq=False)
class Coordinates:
    """z with θ = Bz + rest, for one column of coefficients; k outputs have k columns.

    Attributes:
        risk: the model in the design Z = XB, without penalty.
        basis: B, shape (p, r).
        rest: the part of the start that X does not see, shape (p, *k).
        full: whether r = p: every direction of θ is determined by the data (or by a penalty).
    """

    risk: GeneralisedLinear
    basis: Float[np.ndarray, "p r"]
    rest: Float[np.ndarray, "p *k"]
    full: bool

    def theta(self, z: Float[np.ndarray, " rk"]) -> Float[np.ndarray, " d"]:
        """θ at z."""
        return (self.basis @ self.risk.coefficients(z) + self.rest).ravel()

    def moved(self, z: Float[np.ndarray, " rk"]) -> Float[np.ndarray, " d"]:
        """The change of θ that a change of z makes."""
        return (self.basis @ self.risk.coefficients(z)).ravel()


class Place(NamedTuple):
    """R_ε at z, with what rounding may do to it.

    Attributes:
        z: where.
        local: the points there.
        value: R_ε.
        noise: what rounding may change in it.
        gradient: its derivative in z.
        sizes: for each component, the sum of the sizes of the terms that make it.
        floor: for each component, what rounding may change in it.
    """

    z: Float[np.ndarray, " rk"]
    local: Local
    value: float
    noise: float
    gradient: Float[np.ndarray, " rk"]
    sizes: Float[np.ndarray, " rk"]
    floor: Float[np.ndarray, " rk"]


class ConvexMinimum(NamedTuple):
    """Where the search ended.

    Example:
        >>> data = ef.Dataset([[1.0], [1.0], [2.0]], [0.0, 1.0, 1.0])
        >>> risk = ef.Problem(ef.LinearModel(1), ef.LogisticLoss(), data, delete=[0], l2=1.0).generalised()
        >>> found = ef.flow.minimise(risk, risk.weights(0.0), np.zeros(1), tol=1e-10, max_steps=50)
        >>> found.arrived, found.isolated
        (True, True)

    Attributes:
        theta: θ, shape (d,).
        steps: Newton steps.
        stationary: whether the gradient met its tolerance.
        arrived: whether the Newton step that is left is short, and the curvature there regular.
        isolated: whether no direction of θ is free.
        left: the Newton step that is left, shape (d,).
    """

    theta: Float[np.ndarray, " d"]
    steps: int
    stationary: bool
    arrived: bool
    isolated: bool
    left: Float[np.ndarray, " d"]

    __repr__ = spelled


class ScaledRisk:
    """R_ε as a function of z.

    Args:
        risk: the model.
        weights: c·w_i of every point, shape (n,).
        start: θ to begin with, shape (d,).
    """

    def __init__(self, risk: GeneralisedLinear, weights: Float[np.ndarray, " n"], start: Float[np.ndarray, " d"]):
        self.weights = weights
        self.coordinates, self.start = scaled_coordinates(risk, weights, start)
        self.absolute = np.abs(self.coordinates.risk.x)
        self.rounding = UNIT * (8.0 + np.sqrt(len(weights)))
        # λ/2‖Bz + rest‖²: never scaled itself, and X's kernel is empty where λ > 0 matters.
        copies = np.eye(risk.outputs or 1)
        basis, rest = self.coordinates.basis, self.coordinates.rest
        each = np.asarray(risk.l2)
        if each.ndim == 0:
            self.penalty, self.slope = each * np.kron(basis.T @ basis, copies), each * (basis.T @ rest).ravel()
        else:
            whole = np.kron(basis, copies)
            self.penalty, self.slope = whole.T @ (each[:, None] * whole), whole.T @ (each * rest.ravel())

    def at(self, z: Float[np.ndarray, " rk"]) -> Place:
        """Value and gradient, and the sizes of the sums behind them."""
        model, w = self.coordinates.risk, self.weights
        local = model.at(z)
        pulled = self.penalty @ z + self.slope
        value = model.value(local, w) + float(z @ (0.5 * (self.penalty @ z) + self.slope))
        noise = self.rounding * float(np.abs(w) @ np.abs(local.points.values) + abs(z @ pulled))
        sizes = self._sum(local.points.slopes) + np.abs(pulled)
        # An output is off by its own rounding, and its slope by the curvature times that.
        bent = model.curved(np.abs(local.points.curvatures), np.abs(local.outputs))
        return Place(
            z=z,
            local=local,
            value=value,
            noise=noise,
            gradient=model.gradient(local, w) + pulled,
            sizes=sizes,
            floor=self.rounding * (sizes + self._sum(bent)),
        )

    def _sum(self, terms: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, " rk"]:
        """Σ |w_i z_i t_i|."""
        return (self.absolute.T @ np.abs(_weighted(self.weights, terms))).ravel()

    def hessian(self, place: Place) -> Float[np.ndarray, "rk rk"]:
        """Its second derivative in z."""
        return self.coordinates.risk.hessian(place.local, self.weights) + self.penalty


def minimise(
    risk: GeneralisedLinear,
    weights: Float[np.ndarray, " n"],
    start: Float[np.ndarray, " d"],
    *,
    tol: float,
    max_steps: int,
) -> ConvexMinimum:
    """The minimum of a convex R_ε, if it has one.

    Example:
        >>> data = ef.Dataset([[1.0], [1.0], [2.0]], [0.0, 1.0, 1.0])
        >>> risk = ef.Problem(ef.LinearModel(1), ef.LogisticLoss(), data, delete=[0], l2=1.0).generalised()
        >>> ef.flow.minimise(risk, risk.weights(0.0), np.zeros(1), tol=1e-10, max_steps=50).theta.round(6)
        array([0.714833])

    Newton's method with backtracking on the value, until every component of ∇_zR is at most `tol` of the sum of the
    sizes of its terms at the start, or rounding of the sum; one more step then takes what is left of the error.
    """
    function = ScaledRisk(risk, weights, start)
    place = function.at(function.start)
    asked, reach = tol * place.sizes, _output_scale(place)
    steps, done = 0, not np.isfinite(place.value)
    left, change = _remaining(function, place, reach)
    while steps < max_steps and not done:
        done = _met(place, asked) and change <= CLOSE
        following = _step(function, place, reach)
        if following is None or (done and _worse(following, place)):
            break
        place, steps = following, steps + 1
        left, change = _remaining(function, place, reach)
    met, arrived = _met(place, asked), change <= FAR
    coordinates = function.coordinates
    return ConvexMinimum(coordinates.theta(place.z), steps, met, arrived, coordinates.full, coordinates.moved(left))


def scaled_coordinates(
    risk: GeneralisedLinear, weights: Float[np.ndarray, " n"], start: Float[np.ndarray, " d"]
) -> tuple[Coordinates, Float[np.ndarray, " rk"]]:
    """Coordinates in which the design is well scaled, and where `start` lies in them."""
    theta, seen = risk.coefficients(start), np.abs(weights) > 0.0
    rows = risk.x if seen.all() else risk.x[seen]
    root = np.sqrt(np.abs(weights) if seen.all() else np.abs(weights[seen]))
    # The largest entry first, so that squares neither overflow nor vanish.
    peaks = np.abs(rows).max(axis=0, initial=0.0)
    peaks = np.where(peaks > 0.0, peaks, 1.0)
    weighted = rows / peaks * root[:, None]
    lengths = np.sqrt(np.einsum("ij,ij->j", weighted, weighted))
    widths = peaks * np.where(lengths > 0.0, lengths, 1.0)
    weighted = weighted / np.where(lengths > 0.0, lengths, 1.0)
    gram = weighted.T @ weighted
    if np.linalg.eigvalsh(gram)[0] > WELL_CONDITIONED:
        design = replace(risk, x=risk.x / widths, l2=0.0)
        rest = np.zeros_like(theta)
        return Coordinates(design, np.diag(1.0 / widths), rest, True), _columns(widths, theta).ravel()
    # With a penalty its rows belong to the design: what they determine is determined.
    ridge = np.sqrt(np.broadcast_to(risk.l2, risk.dim).reshape(len(widths), -1).min(axis=1))
    stacked = np.vstack([weighted, np.diag(ridge / widths)[ridge > 0.0]])
    factored: Any = scipy.linalg.qr(stacked, mode="economic", check_finite=False)
    frame, triangle = factored
    turn, values, axes = np.linalg.svd(triangle)
    rank = int((values > max(stacked.shape) * UNIT * values[0]).sum())
    basis = axes[:rank].T / values[:rank] / widths[:, None]
    # What X does not see, orthogonal to its rows as the flow has it, stays; the rest of θ moves in their span.
    span = np.linalg.qr((axes[:rank] * widths).T)[0]
    basis = span @ (span.T @ basis) if rank < len(widths) else basis
    rest = theta - span @ (span.T @ theta) if rank < len(widths) else np.zeros_like(theta)
    orthonormal = (frame @ turn[:, :rank])[: len(rows)]
    design = np.empty((len(risk.x), rank))
    design[seen] = orthonormal / root[:, None]
    if not seen.all():
        design[~seen] = risk.x[~seen] @ basis
    z = _columns(values[:rank], (axes[:rank] * widths) @ theta)
    return Coordinates(replace(risk, x=design, l2=0.0), basis, rest, rank == len(widths)), z.ravel()


def _step(function: ScaledRisk, place: Place, reach: float) -> Place | None:
    """The next place, or None where no step helps any more."""
    direction = _direction(function.hessian(place), place.gradient)
    slope = float(place.gradient @ direction)
    model = function.coordinates.risk
    longest = float(np.abs(model.predict(direction)).max(initial=0.0))
    # Where the curvature has all but vanished a step may be of any length: at most three times the outputs at once.
    limit = 2.0 * (float(np.abs(place.local.outputs).max(initial=0.0)) + reach)
    length = 1.0 if longest <= limit or longest == 0.0 else limit / longest
    for _ in range(HALVINGS):
        trial = function.at(place.z + length * direction)
        gain = -1e-4 * length * slope
        if np.isfinite(trial.value) and trial.value <= place.value - gain + trial.noise:
            # Below rounding of the value only the gradient can tell.
            return None if gain <= trial.noise and _worse(trial, place) else trial
        length *= 0.5
    return None


def _worse(one: Place, other: Place) -> bool:
    """Whether the gradient of one is no smaller than that of the other, component by component in its own units."""
    sizes = np.where(other.sizes > 0.0, other.sizes, 1.0)
    return not np.abs(one.gradient / sizes).max() < np.abs(other.gradient / sizes).max()


def newton_step(hessian: Float[np.ndarray, "d d"], gradient: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"] | None:
    """−H⁻¹g by a Cholesky factor of H with unit diagonal; None where it is not positive definite beyond rounding."""
    diagonal = np.diagonal(hessian)
    if not (diagonal > 0.0).all():
        return None
    widths = np.sqrt(diagonal)
    try:
        factor = np.linalg.cholesky(hessian / widths / widths[:, None])
    except np.linalg.LinAlgError:
        return None
    if np.diagonal(factor).min() ** 2 <= len(factor) * UNIT:
        return None
    return -scipy.linalg.cho_solve((factor, True), gradient / widths, check_finite=False) / widths


def _direction(hessian: Float[np.ndarray, "d d"], gradient: Float[np.ndarray, " d"]) -> Float[np.ndarray, " d"]:
    """Newton's, or where H is singular or indefinite, that of H with its diagonal raised until it is not."""
    diagonal = np.abs(np.diagonal(hessian))
    floor = UNIT * diagonal.max(initial=0.0) or 1.0
    raised = np.maximum(diagonal, floor)
    for shift in (0.0, *SHIFTS):
        step = newton_step(hessian + np.diag(shift * raised), gradient)
        if step is not None:
            return step
    return -gradient / raised


def _output_scale(place: Place) -> float:
    """How far outputs move at once: slope over curvature, the step of a point on its own, at the largest curvature."""
    curvature = float(np.abs(place.local.points.curvatures).max(initial=0.0))
    slope = float(np.abs(place.local.points.slopes).max(initial=0.0))
    return slope / curvature if curvature > 0.0 else 1.0


def _met(place: Place, asked: Float[np.ndarray, " rk"]) -> bool:
    return bool((np.abs(place.gradient) <= np.maximum(asked, place.floor)).all())


def _remaining(function: ScaledRisk, place: Place, reach: float) -> tuple[Float[np.ndarray, " rk"], float]:
    """The Newton step from here, and by how much of itself it changes an output at most.

    The gradient of separable classes vanishes at infinity, where every Newton step adds about one to their logits.
    """
    left = newton_step(function.hessian(place), place.gradient)
    if left is None:
        return np.zeros_like(place.z), np.inf
    change, outputs = np.abs(function.coordinates.risk.predict(left)), np.abs(place.local.outputs)
    sizes = outputs + FAR * reach
    return left, float((change / np.where(sizes > 0.0, sizes, 1.0)).max(initial=0.0))


def _weighted(weights: Float[np.ndarray, " n"], slopes: Float[np.ndarray, "n *k"]) -> Float[np.ndarray, "n *k"]:
    return weights * slopes if slopes.ndim == 1 else weights[:, None] * slopes


def _columns(factors: Float[np.ndarray, " p"], theta: Float[np.ndarray, "p *k"]) -> Float[np.ndarray, "p *k"]:
    return factors * theta if theta.ndim == 1 else factors[:, None] * theta
