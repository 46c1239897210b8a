"""Arcs of linear regression: exact costs, gradients and Hessians by the switch times, and the polish with them."""

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..linear._path import LinearPath, linear_extremal, linear_path
from ..linear._pencil import advance_through
from ..linear._task import LinearTask
from ..terms._arcs import Arcs, bangs
from ..terms._deadline import UNLIMITED, Deadline
from ..terms._extremal import Extremal
from ..terms._levels import best_level
from ..terms._window import MeshWindow
from ._engine import AbstractEngine, Derivatives, Survey, Violation
from ._polish import Stationary, polish

SHORTEST = 1e-12
"""Length of an arc, relative to T − s, below which it is rounding."""

SETTLED = 1e-13
"""PMP gap, relative to the cost, at which no arc is inserted any more: what Newton's last digit leaves."""

INSERTIONS = 40
PATIENCE, ALMOST_EXACT = 16.0, 1e-8
"""After 16 insertions, a schedule whose PMP gap exceeds its cost, itself below 1e-8 of ½‖δ(s)‖², is left to
`_reach`: all of its cost can vanish, and S vanishes with it, so that there is nothing to steer by."""

PRICED = 10
"""Insertions where effort has a price or is limited, and the most switches with which a descent within a budget begins:
every further arc may be worth a little less, and singular arcs are for the mesh to find."""

SAMPLES = 33
"""Of S, between two of its zeros and the switches."""


@dataclass(frozen=True, eq=False)
class ExactDerivatives(Derivatives):
    """What moving the switch times does.

    Attributes:
        cost, gradient, hessian: see `Derivatives`; the gradient is ∂𝓔/∂τ + ρ(|u₋| − |u₊|).
        carried: w_i(T) = ∂δ(T)/∂τ_i, shape (k, d).
        miss, velocity: δ(T) in the eigenbasis of H_{-D} and dδ/dt there, shape (d,).
    """

    carried: Float[np.ndarray, "k d"]
    miss: Float[np.ndarray, " d"]
    velocity: Float[np.ndarray, " d"]


@dataclass(frozen=True, eq=False)
class ExactEngine(AbstractEngine):
    """Bang-bang arcs of linear regression, by sums of exponentials.

    Attributes:
        task: the problem, with its price and its budget.
        deadline: see `AbstractEngine`.
    """

    task: LinearTask
    deadline: Deadline = UNLIMITED
    least = SHORTEST
    most = np.inf
    exact = True
    rounding = 1e-14

    @cached_property
    def window(self) -> MeshWindow:
        """See `AbstractEngine`; the unit is ½‖Lδ(s)‖²."""
        task = self.task
        unit = task.form.value(task.start) or 1.0
        return MeshWindow(task.length, task.bounds, unit, task.price, task.budget)

    def at_price(self, price: float) -> "ExactEngine":
        """See `AbstractEngine`."""
        return ExactEngine(self.task.at_price(price), self.deadline)

    def cost(self, arcs: Arcs) -> float:
        """See `AbstractEngine`."""
        knots, levels = arcs.knots_and_levels
        delta = advance_through(map(self.task.spectrum, levels), self.task.start, np.diff(knots))
        return self.task.form.value(delta) + self.task.price * arcs.effort

    def slope_near(self, arcs: Arcs) -> Callable[[np.ndarray], tuple[float, Float[np.ndarray, " n"]]]:
        """See `AbstractEngine`."""

        def slope(unknowns: np.ndarray) -> tuple[float, Float[np.ndarray, " n"]]:
            at = arcs.at(unknowns)
            turns = _turns(self.task, at)
            cost = self.task.form.value(turns.path.deltas[-1]) + self.task.price * at.effort
            return cost, turns.gradient[np.argsort(at.joint.order)] + self.task.price * at.spending

        return slope

    def derivatives(self, arcs: Arcs) -> ExactDerivatives:
        """Gradient and Hessian of the cost by the switch times, and dS/dt at each.

        Moving the switch τ_i of component c displaces δ by v_i = −(u₋ − u₊) X_cᵀe_c, which the flow carries to
        w_i(t) = Φ(t, τ_i) v_i. With W = LᵀL and p(t) = Φ(T, t)ᵀWδ(T):

            g_i = p(τ_i)ᵀv_i = (u₋ − u₊) S_c(τ_i)
            G_ij = w_i(T)ᵀW w_j(T) − (u₋ − u₊)_j (X_c p)ᵀ(X_c w_i) at τ_j,  i < j
            G_ii = w_i(T)ᵀW w_i(T) + (u₋ − u₊)_i dS_c/dt(τ_i), along p of the later and δ of the earlier arc.

        A price adds ρ(|u₋| − |u₊|) to g, and nothing to G.
        """
        task, joint = self.task, arcs.joint
        turns = _turns(task, arcs)
        path, e, xp, falls = turns.path, turns.residuals, turns.pulls, turns.falls
        before, after = (turns.weights[part] for part in (slice(-1), slice(1, None)))
        velocity = task.drift - task.rates * path.deltas[1:-1] - (before * e) @ task.rows
        adjoint = task.rates * path.costates[1:-1] + (after * xp) @ task.rows
        turning = -np.sum(falls * ((adjoint @ task.rows.T) * e + xp * (velocity @ task.rows.T)), axis=1)
        count, pushes, hessian = len(falls), (falls * xp) @ task.rows, np.diag(turning)
        carried = -(falls * e) @ task.rows  # v_i, and w_i at the current switch once it is passed
        for j in range(1, count):
            carried[:j] = _carry(path, j, carried[:j])
            hessian[:j, j] = hessian[j, :j] = -carried[:j] @ pushes[j]
        if count:
            carried = _carry(path, count, carried)
            images = np.stack([task.form.image(row) for row in carried])
            hessian += images @ images.T
        end, place = path.deltas[-1], np.argsort(joint.order)
        return ExactDerivatives(
            cost=task.form.value(end) + self.task.price * arcs.effort,
            gradient=turns.gradient[place] + self.task.price * arcs.spending,
            hessian=hessian[np.ix_(place, place)],
            carried=carried[place],
            miss=end,
            velocity=task.drift - task.rates * end - (turns.weights[-1] * task.residual(end)) @ task.rows,
        )

    def survey(self, arcs: Arcs) -> Survey:
        """See `AbstractEngine`: intervals between zeros of S and switches on which ε has the wrong level."""
        found = linear_extremal(self.task, *arcs.knots_and_levels)
        cost, gap = found.cost + self.task.price * arcs.effort, found.pmp_gap
        if cost <= found.cost_error or gap <= SETTLED * cost:
            return Survey(cost, [], 0.0, found)
        result, options = [], np.array(arcs.options)
        for component, row in enumerate(arcs.components):
            edges = np.unique(np.concatenate([row.edges, found.zeros[component]]))
            for left, right in itertools.pairwise(edges):
                ts = np.linspace(left, right, SAMPLES)
                values = found.path.signals(ts).switching.reshape(SAMPLES, -1)[:, component]
                level = row.levels[np.searchsorted(row.edges, 0.5 * (left + right)) - 1]
                best = best_level(values, options, self.task.price)
                wrong = (level - best) * values + self.task.price * (abs(level) - np.abs(best))
                if wrong[1:-1].max() > 0.0 and right - left > 1e-9 * self.task.length:
                    peak, gain = int(wrong.argmax()), float(wrong.mean() * (right - left))
                    result.append(Violation(gain, component, float(best[peak]), left, right, ts[peak]))
        vanishing = gap > cost and cost <= ALMOST_EXACT * self.window.unit
        return Survey(cost, sorted(result, reverse=True), PATIENCE if vanishing else np.inf, found)


@dataclass(frozen=True, eq=False)
class Polished(Stationary):
    """Bang-bang arcs of linear regression that are stationary, and their extremal. See `Stationary`."""

    @property
    def extremal(self) -> Extremal:
        """Costate, switching function, Hamiltonian, PMP gap, and the cost; with the multiplier of a budget."""
        assert self.survey.extremal is not None  # the exact engine knows it
        return self.survey.extremal

    @property
    def path(self) -> LinearPath:
        """δ and p along the arcs."""
        assert isinstance(self.extremal.path, LinearPath)  # for the type checker
        return self.extremal.path

    @property
    def cost(self) -> float:
        """The cost of θ(T)."""
        return self.extremal.cost

    @property
    def image(self) -> Float[np.ndarray, " k"]:
        """Lδ(T)."""
        return self.path.task.form.image(self.path.deltas[-1])

    @property
    def exact(self) -> bool:
        """The objective is zero to rounding (exact unlearning); Pontryagin's conditions then say nothing."""
        return self.survey.cost <= self.extremal.cost_error


def polish_linear(
    task: LinearTask,
    knots: Float[np.ndarray, " knots"],
    levels: Float[np.ndarray, "K *m"],
    deadline: Deadline = UNLIMITED,
) -> Polished:
    """The local optimum that a schedule leads to.

    Args:
        task: linear regression, and what effort costs, or may be: not less than the least that the bounds allow.
        knots, levels: where to start; what is not bang-bang is rounded.
        deadline: when to insert no more.
    """
    engine = ExactEngine(task, deadline)
    arcs = _initial(engine, knots, levels)
    found = polish(engine.at_price(task.price), arcs, PRICED if task.price > 0.0 else INSERTIONS)
    if not engine.keeps(found.arcs):
        start = found.arcs if len(found.arcs.times) <= PRICED else arcs
        found = polish(engine, start if start.times.size else _cut_off(task, start), PRICED)
    return Polished(**vars(found))


def _cut_off(task: LinearTask, arcs: Arcs) -> Arcs:
    """Constant weights that exceed the budget, each up to its share of it, and then at the level with the least |u|."""
    options, rows = np.array(arcs.options), [row.levels[0] for row in arcs.components]
    cheapest = float(options[np.argmin(np.abs(options))])
    length, left = arcs.T - arcs.s, task.budget - len(rows) * abs(cheapest) * (arcs.T - arcs.s)
    excess = float(np.sum(np.abs(rows) - abs(cheapest))) * length
    return bangs(
        arcs.options,
        np.array([arcs.s, arcs.s + left / excess * length, arcs.T]),
        np.array([rows, [cheapest] * len(rows)]),
    )


def _initial(engine: ExactEngine, knots: np.ndarray, levels: np.ndarray) -> Arcs:
    """The cheaper of: the levels rounded to their nearer bound; the sign pattern of the switching function.

    What is bang-bang already is taken as it is: insertion finds the arcs that it lacks.
    """
    task, options = engine.task, np.array(engine.task.options)
    nearest = options[np.argmin(np.abs(levels[..., None] - options), axis=-1)]
    rounded = bangs(task.options, knots, nearest).tidied(engine.shortest)
    if (nearest == levels).all():
        return rounded
    found = linear_extremal(task, knots, levels)
    edges = np.unique(np.concatenate([[task.s, task.T], *found.zeros]))
    switching = found.path.signals(0.5 * (edges[:-1] + edges[1:])).switching
    best = np.reshape(best_level(np.ravel(switching), options, task.price), switching.shape)
    return min((rounded, bangs(task.options, edges, best).tidied(engine.shortest)), key=engine.cost)


class _Turns(NamedTuple):
    """What happens at the switches of all components, in the order of time.

    Attributes:
        path: state and costate.
        weights: ε of every point, or of all, between them, shape (k + 1, m) or (k + 1, 1).
        falls: u₋ − u₊ of every point, shape (k, m).
        residuals, pulls: e and Xp, shape (k, m).
    """

    path: LinearPath
    weights: Float[np.ndarray, "arcs weights"]
    falls: Float[np.ndarray, "k m"]
    residuals: Float[np.ndarray, "k m"]
    pulls: Float[np.ndarray, "k m"]

    @property
    def gradient(self) -> Float[np.ndarray, " k"]:
        """(u₋ − u₊) S."""
        return -np.sum(self.falls * self.residuals * self.pulls, axis=1)


def _turns(task: LinearTask, arcs: Arcs) -> _Turns:
    knots, levels = arcs.knots_and_levels
    path, weights = linear_path(task, knots, levels), levels.reshape(len(levels), -1)
    falls = np.broadcast_to(weights[:-1] - weights[1:], (len(weights) - 1, task.points))
    return _Turns(path, weights, falls, task.residual(path.deltas[1:-1]), path.costates[1:-1] @ task.rows.T)


def _carry(path: LinearPath, arc: int, vectors: np.ndarray) -> np.ndarray:
    """Φ over one arc, applied to rows."""
    spectrum, duration = path.spectra[arc], path.knots[arc + 1] - path.knots[arc]
    return spectrum.from_basis(np.exp(-spectrum.rates * duration) * spectrum.to_basis(vectors))
