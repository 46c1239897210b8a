"""The best member of a family for linear regression: δ(T) as a function of the family's numbers, and its least cost.

δ(T) is a smooth function of the numbers that pick a member. It is computed at Chebyshev points of the family's box, all
of them together, and the scan reads the polynomial through them. The best places of the scan are then looked at
closely, each on a small box with a polynomial of its own, which is exact to some 1e-10 there.
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import minimize

from ...flow._decays import SCAN, Precision
from ...schedules import SearchSpace, build_members
from ..terms._deadline import UNLIMITED, Deadline
from ..terms._levels import efforts
from ..terms._runs import Least
from ._decays import member_ends
from ._interpolant import Interpolant, interpolate, nodes
from ._search import lattice, least_in_box
from ._task import LinearTask

GRID = {1: 201, 2: 49, 3: 17}
"""Points per number of the scan, for families of up to three numbers; of more numbers, `WIDE`."""
WIDE = 9
MEMBERS = 2_000
"""Most members from which the polynomial on the whole box is made."""
RESOLVED = 1e-4
"""Tail at which that polynomial serves for a scan."""
CLOSE = Precision(order=10, growth=4.0, depth=3.0, singular=1e-7, smooth=1e-8, tolerance=1e-7)
"""For the polynomials on small boxes: δ(T), an integral by Gauss's rule, is far closer than the bound, some 1e-12."""
LOCAL = {1: 6, 2: 7, 3: 5}
"""Nodes per number there: on a hundredth of the range, or two, 1e-10 is left (1e-7 of three numbers)."""
PLACES, MOVES = 3, 30
"""Places of the scan that are looked at closely, and how often a small box may follow a valley."""
SLACK = 1e-9
"""Fraction of the budget left to the error of the polynomials."""


class Box(NamedTuple):
    """A search space as the unit box: logarithms where it says so, times crowded towards both ends of the window.

    δ(T) changes over 1/λ_max where ε ends just after s, or just before T: κ = log(1 + λ_max (T − s)) is how far

        fraction = ½ (1 + tanh(κ(x − ½))/tanh(κ/2))

    stretches the ends.
    """

    space: SearchSpace
    lower: Float[np.ndarray, " p"]
    upper: Float[np.ndarray, " p"]
    kappa: Float[np.ndarray, " p"]

    def numbers(self, x: Float[np.ndarray, "*k p"]) -> Float[np.ndarray, "*k p"]:
        """The family's numbers at points of the unit box."""
        stretched = 0.5 + 0.5 * np.tanh(self.kappa * (x - 0.5)) / np.tanh(0.5 * self.kappa)
        values = self.space.unscaled(self.lower + (self.upper - self.lower) * np.clip(stretched, 0.0, 1.0))
        values = np.where(x <= 0.0, self.space.lower, np.where(x >= 1.0, self.space.upper, values))
        return np.clip(values, self.space.lower, self.space.upper)

    def size(self, stretch: int) -> tuple[int, ...]:
        """How many nodes along each number resolve δ(T), about: poles lie π/2 off a stretched or logarithmic axis."""
        return tuple(
            stretch * int(np.ceil(5.0 + 2.4 * (high - low if log else kappa)))
            for low, high, log, kappa in zip(self.lower, self.upper, self.space.log, self.kappa, strict=True)
        )


def box_of(task: LinearTask, space: SearchSpace) -> Box:
    """The unit box of a search space."""
    log, lower, upper = np.asarray(space.log), space.scaled(space.lower), space.scaled(space.upper)
    rate = task.rates.max() + max(map(abs, task.bounds)) * np.square(task.rows).sum()
    times = ~log & (lower >= task.s) & (upper <= task.T)
    return Box(space, lower, upper, np.where(times, np.log1p(rate * task.length), 1e-3))


def least_member(
    task: LinearTask,
    space: SearchSpace,
    grid: int | None = None,
    deadline: Deadline = UNLIMITED,
) -> Least:
    """The least cost + ρ∫|ε| dt among the members within the budget.

    Args:
        task: the problem, with its price ρ, or its budget.
        space: the family; its members are smooth, or constant, between their jumps.
        grid: points per number of the scan; default: `GRID`.
        deadline: when to stop; the scan, and a look at its best place, are made in any case.
    """
    search = _Search(task, box_of(task, space), deadline)
    numbers = len(space.names)
    points = grid or GRID.get(numbers, WIDE)
    whole = search.whole() if numbers in GRID else None
    if whole is None:
        found = least_in_box(lambda x: search.costs(x[0])[None], 1, numbers, grid=points, refine=WIDE)
        best, cost = found.points[0], float(found.costs[0])
    else:
        best, cost = search.closely(whole, points)
    best = np.where(best <= 1e-7, 0.0, np.where(best >= 1.0 - 1e-7, 1.0, best))
    return Least(search.box.numbers(best), cost, search.evaluations, finished=not search.cut)


class _Search:
    """One search, how many members it has computed, and whether its deadline has cut it short."""

    def __init__(self, task: LinearTask, box: Box, deadline: Deadline):
        self.task, self.box, self.deadline = task, box, deadline
        self.evaluations, self.cut = 0, False
        self.limit = task.budget * (1.0 - SLACK) + 1e-12 * task.length

    def values(self, x: Float[np.ndarray, "k p"], precision: Precision) -> Float[np.ndarray, "k c"]:
        """Lδ(T) of members, and ∫|ε| dt in a last column if it matters."""
        members = build_members(self.box.space, self.box.numbers(x))
        self.evaluations += len(x)
        ends = self.task.form.image(member_ends(self.task, members, precision).states)
        if not self.task.priced:
            return ends
        return np.column_stack([ends, efforts(members, self.task.s, self.task.T)])

    def objective(self, values: Float[np.ndarray, "*k c"]) -> Float[np.ndarray, "*k"]:
        """The cost with its price; infinite where it is not finite, or beyond the budget."""
        ends, spent = (values[..., :-1], values[..., -1]) if self.task.priced else (values, 0.0)
        costs = 0.5 * np.square(ends).sum(axis=-1) + self.task.price * spent
        return np.where(np.isfinite(costs) & (spent <= self.limit), costs, np.inf)

    def costs(self, x: Float[np.ndarray, "k p"]) -> Float[np.ndarray, " k"]:
        """The objective of members themselves."""
        return self.objective(self.values(x, SCAN))

    def fitted(self, low: np.ndarray, high: np.ndarray, sizes: tuple[int, ...], precision: Precision) -> Interpolant:
        """The polynomial on a part of the box, as a function on its own unit box."""
        points = np.stack(np.meshgrid(*map(nodes, sizes), indexing="ij"), axis=-1)
        values = self.values(low + (high - low) * points.reshape(-1, len(sizes)), precision)
        return interpolate(values.reshape(*sizes, -1))

    def whole(self) -> Interpolant | None:
        """The polynomial on all of the box, or None if so many members do not resolve it."""
        zeros, stretch = np.zeros(len(self.box.lower)), 1
        while np.prod(self.box.size(stretch)) <= MEMBERS:
            fit = self.fitted(zeros, zeros + 1.0, self.box.size(stretch), SCAN)
            if fit.tail <= RESOLVED:
                return fit
            stretch *= 2
        return None

    def closely(self, whole: Interpolant, points: int) -> tuple[Float[np.ndarray, " p"], float]:
        """The best of the best places of a scan."""
        numbers = len(self.box.lower)
        grid, cell = lattice(points, numbers), 1.0 / (points - 1)
        costs = self.objective(whole(grid))
        if not np.isfinite(costs).any():
            return np.full(numbers, 0.5), np.inf
        best, least = grid[np.argmin(costs)], np.inf
        # What the polynomial misses, in units of its largest value, may hide a place that is better.
        margin = 2.0 * whole.tail * np.sqrt(costs[np.isfinite(costs)].max() * costs.min()) + whole.tail**2
        for place in _places(costs, points, numbers, costs.min() + margin):
            x, cost = self._followed(grid[place], cell)
            if cost < least:
                best, least = x, cost
            if self.deadline.passed:
                self.cut = True
                break
        return best, least

    def _followed(self, x: Float[np.ndarray, " p"], reach: float) -> tuple[Float[np.ndarray, " p"], float]:
        """The least cost near a point; the small box moves along as long as the minimum is on a side of it."""
        cost, half = np.inf, min(reach, 0.05)
        for _ in range(MOVES):
            low, high = np.maximum(0.0, x - half), np.minimum(1.0, x + half)
            fit = self.fitted(low, high, (LOCAL[len(x)],) * len(x), CLOSE)
            inside, found = self._lowest(fit, len(x))
            best = low + (high - low) * inside
            best = np.where(inside <= 0.0, low, np.where(inside >= 1.0, high, best))
            stuck = ((inside > 0.0) | (low <= 0.0)) & ((inside < 1.0) | (high >= 1.0))
            x, cost = best, found
            if stuck.all() or not np.isfinite(cost) or self.deadline.passed:
                break
        return x, cost

    def _lowest(self, fit: Interpolant, numbers: int) -> tuple[Float[np.ndarray, " p"], float]:
        """Where in its box a polynomial costs least; of several numbers, down the valley, except beside a budget."""
        grid = 17 if numbers < 3 else 9
        if numbers == 1 or self.limit < np.inf:
            found = least_in_box(lambda u: self.objective(fit(u)), 1, numbers, grid=grid, refine=9)
            return found.points[0], float(found.costs[0])
        points = lattice(grid, numbers)
        costs = self.objective(fit(points))
        x, cost = points[np.argmin(costs)], float(costs.min())
        if not 0.0 < cost < np.inf:
            return x, cost
        price, ends = self.task.price, -1 if self.task.priced else None

        def function(u: np.ndarray) -> tuple[float, np.ndarray]:
            values, slopes = fit.with_slopes(u)
            spent, dearer = (values[-1], slopes[:, -1]) if self.task.priced else (0.0, 0.0)
            value = 0.5 * float(values[:ends] @ values[:ends]) + price * spent
            return value / cost, (slopes[:, :ends] @ values[:ends] + price * dearer) / cost

        options = {"ftol": 1e-15, "gtol": 1e-10}
        down = minimize(function, x, jac=True, method="L-BFGS-B", bounds=[(0.0, 1.0)] * numbers, options=options)
        return (down.x, float(down.fun) * cost) if down.fun < 1.0 else (x, cost)


def _places(costs: np.ndarray, points: int, numbers: int, most: float) -> list[int]:
    """The grid points, the best first, that cost no more than `most` and less than their neighbours along the axes."""
    table = costs.reshape((points,) * numbers)
    lowest = np.ones_like(table, dtype=bool)
    for axis in range(numbers):
        ahead = np.moveaxis(table, axis, 0)
        flags = np.moveaxis(lowest, axis, 0)
        flags[1:] &= ahead[1:] <= ahead[:-1]
        flags[:-1] &= ahead[:-1] <= ahead[1:]
    chosen = np.flatnonzero(lowest.ravel() & (costs <= most))
    return chosen[np.argsort(costs[chosen], kind="stable")][:PLACES].tolist()
