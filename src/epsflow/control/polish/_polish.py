"""From arcs that are nearly right to arcs that satisfy Pontryagin's conditions, for any engine.

On given arcs the unknowns are the switch times and the levels of singular arcs. Where the Hessian is exact, Newton's
method descends in them, elsewhere and within a budget SLSQP does. Arcs whose ends meet are deleted; where the switching
function has the wrong sign an arc is inserted. The cost never increases. Newton's method on the conditions themselves
gives the last digits; within a budget B that is spent, on ∇(φ + ρE) = 0 and E = B together, E = ∫|u| dt, with the
multiplier ρ as one more unknown.

The optimum need not be global: the problem is not convex. Nor need it be bang-bang where effort has a price: S ≡ −ρ is
possible on an interval, and then ever more switches lower the cost by ever less.
"""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from ...schedules import AbstractPiecewiseConstant
from ..terms._arcs import Arcs
from ..terms._runs import SecondOrder, least_curvature
from ._engine import AbstractEngine, Derivatives, Survey

NEWTON_STEPS = 60
UNSEEN = 1e-13
"""What a step must promise, as a fraction of the cost: less is lost in its rounding, and is left to the last digits."""

LAST_STEPS = 4
"""Newton steps for the last digits, each of which must halve what is left."""

SPENT = 1e-4
"""A budget may bind where less than this fraction of it is left; whether it does, the sign of the multiplier says."""


@dataclass(frozen=True, eq=False)
class Stationary:
    """Arcs whose switch times and free levels are stationary.

    Attributes:
        arcs: the control.
        objective: φ, and what the price that was given adds.
        survey: what Pontryagin's conditions say, at the price, or at the multiplier of a budget that is spent.
        spending: ∂(∫|u| dt)/∂(unknowns) where a budget is spent; else None.
        engine: of the problem, likewise.
        known: the derivatives, where the search needed them.
    """

    arcs: Arcs
    objective: float
    survey: Survey
    spending: Float[np.ndarray, " n"] | None
    engine: AbstractEngine
    known: Derivatives | None = None

    @cached_property
    def derivatives(self) -> Derivatives:
        """By the unknowns of the arcs, at the same price as the survey."""
        return self.engine.derivatives(self.arcs) if self.known is None else self.known

    @property
    def schedule(self) -> AbstractPiecewiseConstant:
        """ε(t): a `BangBang` where it has one component that alternates, else a `PiecewiseConstant`."""
        return self.arcs.schedule()

    @property
    def second_order(self) -> SecondOrder:
        """Derivatives by the switch times, ascending."""
        order, found = self.arcs.ascending, self.derivatives
        spends = None if self.spending is None else self.spending[order]
        return SecondOrder(self.arcs.times[order], found.gradient[order], found.hessian[np.ix_(order, order)], spends)


def polish(engine: AbstractEngine, arcs: Arcs, insertions: int) -> Stationary:
    """The stationary arcs that given ones descend to. The cost, as the engine computes it, never rises.

    Args:
        engine: the problem, and what effort costs or may be.
        arcs: where to start.
        insertions: the most arcs that may be inserted.
    """
    rounds, kept, least = 0, None, np.inf
    while True:
        arcs = descend(engine, arcs)
        valued = engine.at_price(multiplier(engine, arcs))
        survey = valued.survey(arcs)
        cost = survey.cost - (valued.window.price - engine.window.price) * arcs.effort
        if kept is None or (engine.keeps(arcs) and cost < least):
            kept = arcs, valued, survey
            least = cost if engine.keeps(arcs) else np.inf
        if rounds >= min(insertions, survey.patience) or engine.deadline.passed:
            break
        revised = _insert(valued, arcs, survey)
        if revised is None:
            break
        arcs, rounds = revised, rounds + 1
    arcs, valued, survey = kept
    known, held = None, arcs.spending if valued.window.price > engine.window.price else None
    if not _by_newton(engine):
        found = valued.derivatives(arcs)
        arcs = _last_digits(valued, arcs, found, engine.window.budget if held is not None else None)
        valued = engine.at_price(multiplier(engine, arcs))
        survey = valued.survey(arcs)
        if not valued.exact:  # whose Hessian is dear
            known = replace(found, gradient=valued.slope_near(arcs)(arcs.unknowns)[1])
    cost = survey.cost - (valued.window.price - engine.window.price) * arcs.effort
    return Stationary(arcs, cost, survey, held, valued, known)


def multiplier(engine: AbstractEngine, arcs: Arcs) -> float:
    """What a unit of ∫|u| dt is worth: the price, or where a budget is spent the least-squares ρ of g + ρc = 0.

    g and c: the derivatives of φ and of ∫|u| dt by switch times and free levels.
    """
    if arcs.effort < (1.0 - SPENT) * engine.window.budget:
        return engine.window.price
    g, c = arcs.scale * engine.slope_near(arcs)(arcs.unknowns)[1], arcs.scale * arcs.spending
    return engine.window.price + max(0.0, -float(g @ c) / float(c @ c)) if c.any() else engine.window.price


def _by_newton(engine: AbstractEngine) -> bool:
    return engine.exact and engine.window.budget == np.inf


def descend(engine: AbstractEngine, arcs: Arcs) -> Arcs:
    """To where the unknowns are stationary; arcs that collapse are deleted on the way."""
    if _by_newton(engine):
        return _newton(engine, arcs)
    while True:
        arcs = _slsqp(engine, arcs)
        tidy = arcs.tidied(engine.shortest)
        if len(tidy.unknowns) == len(arcs.unknowns):
            return arcs
        arcs = tidy


# ---- Newton's method ------------------------------------------------------------------------------------------------


def _newton(engine: AbstractEngine, arcs: Arcs) -> Arcs:
    for _ in range(NEWTON_STEPS):
        arcs = arcs.tidied(engine.shortest)
        if not arcs.unknowns.size:
            return arcs
        found = engine.derivatives(arcs)
        moved = _step_down(engine, arcs, found)
        if moved is None:
            return _last_digits(engine, arcs, found, None)
        arcs = moved
    return arcs.tidied(engine.shortest)


def _step_down(engine: AbstractEngine, arcs: Arcs, found: Derivatives) -> Arcs | None:
    """A Newton step, halved until the cost falls; None where it falls no further.

    The moduli of the curvatures stand for these, so that every step leads downhill.
    """
    values, vectors = np.linalg.eigh(found.hessian)
    floor = 1e-13 * np.abs(values).max() + np.finfo(np.float64).tiny
    step = -vectors @ ((vectors.T @ found.gradient) / np.maximum(np.abs(values), floor))
    promised, size = float(found.gradient @ step), min(1.0, arcs.room(step))
    if -promised <= UNSEEN * found.cost:
        return None
    while size > 1e-10:
        trial = arcs.at(arcs.unknowns + size * step).ordered()
        if engine.cost(trial) <= found.cost + 1e-4 * size * promised:
            return trial
        size *= 0.5
    return None


def _last_digits(engine: AbstractEngine, arcs: Arcs, found: Derivatives, budget: float | None) -> Arcs:
    """Newton steps while they halve what is left of the conditions: the cost cannot tell the difference any more.

    Only at a minimum. Within a budget that is spent, ρ is one more unknown; `engine` has it as its price.
    """
    scale, ranges = arcs.scale, arcs.ranges
    hessian = found.hessian * np.outer(scale, scale) / engine.window.unit
    held = None if budget is None else arcs.spending * scale
    if not hessian.size or least_curvature(hessian, held) <= 0.0:
        return arcs
    near, here = engine.slope_near(arcs), arcs
    left, c = _conditions(arcs, found.gradient * scale / engine.window.unit, budget)
    for _ in range(LAST_STEPS):
        system = hessian if c is None else np.block([[hessian, c[:, None]], [c[None], np.zeros((1, 1))]])
        step = -scale * np.linalg.lstsq(system, left, rcond=engine.rounding)[0][: len(scale)]
        unknowns = here.unknowns + step
        inside = ((ranges[:, 0] <= unknowns) & (unknowns <= ranges[:, 1])).all()
        if not inside or here.room(step) <= 1.0 or engine.deadline.passed:
            break
        trial = here.at(unknowns)
        after, c = _conditions(trial, near(unknowns)[1] * scale / engine.window.unit, budget)
        if not np.abs(after).max() < 0.5 * np.abs(left).max():
            break
        here, left = trial, after
    return here


def _conditions(
    arcs: Arcs, gradient: Float[np.ndarray, " n"], budget: float | None
) -> tuple[Float[np.ndarray, " k"], Float[np.ndarray, " n"] | None]:
    """What must vanish: the gradient, or its part that ρ does not account for and E − B; and the derivative of E."""
    if budget is None:
        return gradient, None
    length = arcs.T - arcs.s
    c = arcs.spending * arcs.scale / length
    return np.append(gradient - c * float(gradient @ c) / float(c @ c), (arcs.effort - budget) / length), c


# ---- SLSQP ----------------------------------------------------------------------------------------------------------


def _slsqp(engine: AbstractEngine, arcs: Arcs) -> Arcs:
    """SLSQP on the unknowns of fixed arcs; the start itself if that is cheaper, and within the budget."""
    from scipy.optimize import LinearConstraint, minimize  # which the exact engine without a budget spares

    origin, scale, budget, unit = arcs.ranges[:, 0], arcs.scale, engine.window.budget, engine.window.unit
    if not scale.size:
        return arcs
    near, bounds = engine.slope_near(arcs), (arcs.ranges - origin[:, None]) / scale[:, None]

    def unknowns(z: np.ndarray) -> np.ndarray:
        return origin + scale * np.clip(z, *bounds.T)

    def cost(z: np.ndarray) -> tuple[float, np.ndarray]:
        value, slope = near(unknowns(z))
        return (value / unit, slope * scale / unit) if np.isfinite(value) else (1e30, np.zeros_like(z))

    constraints: list[Any] = [LinearConstraint(arcs.order, 0.0, np.inf)] if len(arcs.order) else []
    if budget < np.inf:
        left = {
            "fun": lambda z: budget - arcs.at(unknowns(z)).effort,
            "jac": lambda z: -scale * arcs.at(unknowns(z)).spending,
        }
        constraints.append({"type": "ineq", **left})
    options = {"ftol": 1e-13, "maxiter": 100}
    given = {"jac": True, "bounds": bounds, "constraints": constraints, "options": options}
    run = minimize(cost, (arcs.unknowns - origin) / scale, method="SLSQP", callback=engine.deadline.stop, **given)
    found = arcs.at(unknowns(run.x)).ordered()
    better = engine.cost(found) < engine.cost(arcs) or not engine.keeps(arcs)
    return found if better and (engine.keeps(found) or not engine.keeps(arcs)) else arcs


# ---- insertion ------------------------------------------------------------------------------------------------------


def _insert(engine: AbstractEngine, arcs: Arcs, survey: Survey) -> Arcs | None:
    """Cheaper arcs, one more of them where S has the wrong sign; None where no width of it lowers the cost."""
    for violation in survey.violations:
        share, length = 1.0, violation.end - violation.start
        while share * length > engine.shortest:
            begin, end = (violation.pivot + share * (t - violation.pivot) for t in (violation.start, violation.end))
            trial = arcs.with_bang(violation.component, violation.level, begin, end)
            if len(trial.joint.part) <= engine.most and engine.cost(trial) < survey.cost:
                return trial
            share *= 0.5
    return None
