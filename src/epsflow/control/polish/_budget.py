"""A budget ∫|ε| dt ≤ B for linear regression: the switch times under one linear constraint.

A schedule that spends B minimises cost + ρ∫|ε| dt for some ρ ≥ 0, the multiplier. ρ is bracketed by bisection, with a
polish at each price; then Newton's method on the conditions themselves, ∂cost/∂τ + ρc = 0 and cᵀτ + … = B with
c = |u₋| − |u₊|, gives τ and ρ together to rounding. The optimum need not be global: the problem is not convex. Nor need
it be bang-bang: S ≡ −ρ is possible on an interval (a singular arc), and then ever more switches lower the cost by ever
less. Insertion stops at a number of arcs; the PMP gap says what is left.
"""

import numpy as np
from jaxtyping import Float

from ..linear._task import LinearTask
from ._linear import Polished, polish_control, polish_structure, report
from ._structure import Structure, delete_empty, derivatives, effort, moved_by, room_for

BISECTIONS, NEWTON_STEPS = 8, 20
ROUNDS, MOST_SWITCHES = 3, 12
"""Insertions at each price, and switches beyond which nothing is inserted."""

SPENT = 1e-12
"""Fraction of the budget by which rounding may exceed it."""


def polish_within(task: LinearTask, knots: np.ndarray, levels: np.ndarray, budget: float) -> Polished:
    """The local optimum within a budget that a schedule leads to.

    Args:
        task: linear regression, without a price.
        knots, levels: where to start, as in `polish_control`.
        budget: B, not less than the least that the bounds allow.
    """
    free = polish_control(task, knots, levels)
    if effort(task, free.structure) <= budget:
        return free
    shared = levels.ndim == 1
    dear, dearest = free, _too_dear(task, free, shared, budget)
    low, high, cheap = 0.0, *dearest
    for _ in range(BISECTIONS):
        price = 0.5 * (low + high)
        run = _at(task, price, cheap.structure, shared)
        if effort(task, run.structure) > budget:
            low, dear = price, run
        else:
            high, cheap = price, run
    found = [report(task.priced(high), cheap.structure, shared)]
    for run in (cheap, dear):
        structure, price = _newton(task, run.structure, shared, budget, 0.5 * (low + high))
        if structure is not None:
            found.append(report(task.priced(price), structure, shared))
    return min(found, key=lambda run: run.cost)


def _too_dear(task: LinearTask, free: Polished, shared: bool, budget: float) -> tuple[float, Polished]:
    """A price at which the budget is kept."""
    ts = np.linspace(task.s, task.T, 65)
    price = float(np.abs(free.extremal.path.signals(ts).switching).max())
    while True:
        run = _at(task, price, free.structure, shared)
        if effort(task, run.structure) <= budget:
            return price, run
        price *= 4.0


def _at(task: LinearTask, price: float, structure: Structure, shared: bool) -> Polished:
    rounds = ROUNDS if structure.total < MOST_SWITCHES else 0
    return polish_structure(task.priced(price), structure, shared, rounds)


def _newton(
    task: LinearTask, structure: Structure, shared: bool, budget: float, price: float
) -> tuple[Structure | None, float]:
    """Switch times and multiplier of a fixed structure; None where it has no minimum that spends the budget."""
    for _ in range(NEWTON_STEPS):
        structure = delete_empty(task, structure)
        if structure.total == 0:
            return None, price
        slopes = derivatives(task, structure, shared)
        c, excess = slopes.prices, effort(task, structure) - budget
        if not c.any():
            return None, price
        system = np.block([[slopes.hessian, c[:, None]], [c[None], np.zeros((1, 1))]])
        step = np.linalg.lstsq(system, -np.append(slopes.gradient + price * c, excess), rcond=1e-14)[0]
        size = min(1.0, 0.9 * room_for(task, structure, step[:-1])) if step[:-1].any() else 1.0
        structure, price = moved_by(task, structure, size * step[:-1]), price + size * float(step[-1])
        if np.abs(step[:-1]).max() <= 1e-14 * task.length:
            break
    # Within rounding, and not above a saddle along the constraint.
    kept = abs(effort(task, structure) - budget) <= SPENT * max(budget, task.length)
    last = derivatives(task, structure, shared)
    return (structure, price) if kept and price >= 0.0 and _curved(last.hessian, last.prices) else (None, price)


def _curved(hessian: Float[np.ndarray, "k k"], c: Float[np.ndarray, " k"]) -> bool:
    """Whether the Hessian is positive semi-definite, up to rounding, where cᵀτ does not change."""
    null = np.linalg.svd(c[None])[2][1:]
    if not len(null):
        return True
    return bool(np.linalg.eigvalsh(null @ hessian @ null.T)[0] >= -1e-9 * np.abs(hessian).max())
