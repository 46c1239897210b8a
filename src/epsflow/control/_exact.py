"""From which starts in the plane can linear regression reach its target exactly?

From such a start there is a quickest way, and Pontryagin's conditions hold along it: ε = ε_max where S = (xᵀp) e < 0
and ε_min where S > 0. Along ṗ = H_u p with two parameters xᵀp changes its sign at most once, whatever u does: in the
plane of xᵀp and x_⊥ᵀp directions turn across either axis at a rate in which κ = x_⊥ᵀH_{-D}x appears and u does not, so
that of the quadrants between them those that are entered are not left. All other switches are those of e = xᵀδ − r. So
the quickest ways form one sheet for each level ≠ 0 of the last arc (ε = 0 does not arrive), whose coordinates are the
times before and after xᵀp = 0, and backward from the target they are known in closed form.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .._core import Axed, InputError, Labelled, Shown, Stored, as_count, as_instance, as_scalar, read_fields
from ..problem import Problem
from ._task import linear_of, make_task
from .linear._exponentials import ExponentialSum, bracketed_zero, resolving_grid
from .linear._pencil import Spectrum, advance
from .linear._task import LinearTask
from .polish._reach import ExactUnlearning, reach, require_rest
from .terms._deadline import Deadline


def exact_unlearning_time(
    problem: Problem,
    theta0: object,
    *,
    s: float,
    bounds: tuple[float, float] = (0.0, 1.0),
    horizon: float | None = None,
    time_limit: float | None = None,
) -> ExactUnlearning:
    """The least T at which θ(T) = θ*_{-D} exactly for some schedule in E_s; ∞ where it is unreachable.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.exact_unlearning_time(problem, np.zeros(10), s=2.0).time
        inf

    Args:
        problem: linear regression, with one weight per deleted point where there are several.
        theta0: θ(0), shape (d,).
        s: when the deletion request arrives.
        bounds: least and largest ε after s; must contain 0, or the target could not be kept.
        horizon: how far ahead to look (a time > s); default s + 40/λ_min(H_{-D}), when e^{−40} of the start is left.
        time_limit: seconds after which the answer is left undecided, with what is certain by then.

    Raises:
        InputError: not linear regression; rank-deficient H_{-D}; 0 outside the bounds.
    """
    s = as_scalar(s, "s")
    probe = make_task(problem, theta0, s=s, T=s + 1.0 if horizon is None else horizon, bounds=bounds)
    linear = linear_of(probe)
    if horizon is None:
        linear = linear.until(s + 40.0 / float(linear.rates[0]))
    return reach(linear, Deadline(time_limit), probe.target_error)


ROUNDING = 1e-13
"""A residual at the target below this fraction of its terms is zero: H_{-D}⁻¹b and two rotations made them."""


@dataclass(frozen=True, eq=False, repr=False, kw_only=True)
class ExactStarts(Shown, Labelled, Stored):
    """The starts θ(s) in the plane from which exact unlearning is possible.

    Example:
        >>> small = ef.linear_regression(ef.Dataset([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 0.0]), [2])
        >>> type(ef.exact_starts(small, longest=1.0, grid=3)).__name__
        'ExactStarts'

    Attributes:
        starts: θ(s), shape (m, k, l, 2): m sheets that cover them. From starts[i, j, k] the target is reached in
            first_times[k] + last_times[j]; between the two the costate's xᵀp changes its sign, and ε its bound.
        levels: ε on the last arc of each sheet, shape (m,): ε_max, and ε_min where that is negative.
        last_times, first_times: shape (k,), (l,).
        times: how long it takes, shape (k, l). Where sheets overlap, the least of them is the quickest.
        target: shape (2,).
    """

    starts: Float[np.ndarray, "m k l 2"]
    levels: Float[np.ndarray, " m"]
    last_times: Float[np.ndarray, " k"]
    first_times: Float[np.ndarray, " l"]
    times: Float[np.ndarray, "k l"]
    target: Float[np.ndarray, " 2"]

    @classmethod
    def from_json(cls, text: str) -> "ExactStarts":
        """What `to_json` wrote.

        Raises:
            InputError: another document.
        """
        return cls(**read_fields(cls, text, ()))

    def _arrays(self) -> dict[str, Axed]:
        return {
            "sheet": ("sheet", np.arange(len(self.levels))),
            "last_time": ("last_time", self.last_times),
            "first_time": ("first_time", self.first_times),
            "start": ("sheet last_time first_time parameter", self.starts),
            "level": ("sheet", self.levels),
            "time": ("last_time first_time", self.times),
            "target": ("parameter", self.target),
        }

    def _facts(self) -> dict[str, object]:
        return {
            "starts": self.starts,
            "levels": self.levels,
            "longest": float(self.times.max()),
            "target": self.target,
        }


def exact_starts(
    problem: Problem, *, longest: float, bounds: tuple[float, float] = (0.0, 1.0), grid: int = 41
) -> ExactStarts:
    """All starts from which the target can be reached within a time: backward from it along the quickest ways.

    Example:
        >>> small = ef.linear_regression(ef.Dataset([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 0.0]), [2])
        >>> type(ef.exact_starts(small, longest=1.0, grid=3)).__name__
        'ExactStarts'

    Where e = xᵀθ − y keeps its sign these are ε_min and then ε_max (for ε_min < 0 also the other way round). Where they
    cross the line e = 0, ε switches there as well.

    Args:
        problem: linear regression with two parameters and one deleted point.
        longest: the longest time before, and after, the costate's sign change. So every start from which the target
            can be reached within it is covered.
        bounds: least and largest ε.
        grid: how many times before, and after; at least 2.

    Raises:
        InputError: another number of parameters or points; a deleted point that the target fits exactly, where ε does
            nothing; or as `exact_unlearning_time`.
    """
    as_instance(problem, "problem", Problem, "write epsflow.linear_regression(data, delete=[17])")
    count = as_count(grid, "grid", 2)
    if problem.dim != 2 or problem.delete.size != 1:
        raise InputError(
            "the set of exact starts is drawn for two parameters and one deleted point; this problem has "
            f"{problem.dim} and {problem.delete.size}. `exact_unlearning_time` answers for one start in any dimension."
        )
    task = make_task(problem, np.zeros(2), s=0.0, T=as_scalar(longest, "longest"), bounds=bounds)
    linear = linear_of(task)
    require_rest(linear)
    fitted = np.abs(problem.data.x[problem.delete[0]]) @ np.abs(linear.target)
    if np.abs(linear.residuals[0]) <= ROUNDING * fitted:
        raise InputError(
            "the target fits the deleted point exactly: ε has no effect there, and only the target arrives."
        )
    (low, high), times = task.bounds, np.linspace(0.0, task.T, count)
    ends = [(last, other) for last, other in ((high, low), (low, high)) if last != 0.0]
    deltas = np.stack([_sheet(linear, levels, times) for levels in ends])
    last = np.array([levels[0] for levels in ends])
    return ExactStarts(
        starts=linear.theta(deltas),
        levels=last,
        last_times=times,
        first_times=times,
        times=times[:, None] + times,
        target=np.asarray(linear.target),
    )


def _sheet(linear: LinearTask, levels: tuple[float, float], times: np.ndarray) -> np.ndarray:
    """δ at each time before the end, xᵀp changing its sign in between; `levels` as in `_backward`, at the target."""
    trunk = _backward(linear, np.zeros(2), levels, times)
    return np.stack([_backward(linear, delta, (levels[1], levels[0]), times) for delta in trunk])


def _backward(linear: LinearTask, delta: np.ndarray, levels: tuple[float, float], times: np.ndarray) -> np.ndarray:
    """δ at each time before `delta`, under the first level where e has its sign at the target, else the other."""
    home = int(np.sign(-linear.residuals[0]))
    side = int(np.sign(linear.residual(delta)[0])) or home
    found, elapsed = np.empty((len(times), 2)), 0.0
    while True:
        spectrum = linear.spectrum(levels[0] if side == home else levels[1])
        left = times[-1] - elapsed
        duration = _until_fitted(linear, spectrum, delta, side, left)
        inside = times >= elapsed
        found[inside] = advance(spectrum, delta, elapsed - times[inside])
        if duration == np.inf:
            return found
        delta = advance(spectrum, delta, np.array([-duration]))[0]
        elapsed, side = elapsed + duration, -side


def _until_fitted(linear: LinearTask, spectrum: Spectrum, delta: np.ndarray, side: int, longest: float) -> float:
    """How long before `delta` the residual e, of sign `side` just before it, was zero; ∞ if not within `longest`."""

    def residual(t: float | np.ndarray) -> np.ndarray:
        return side * linear.residual(advance(spectrum, delta, -np.atleast_1d(t)))[:, 0]

    # With t backward, dδ/dt = e^{μt}(μδ − drift) in the eigenbasis.
    start = spectrum.to_basis(delta)
    slope = ExponentialSum(spectrum.rows[0] * (spectrum.rates * start - spectrum.drift), -spectrum.rates)
    grid = resolving_grid(-spectrum.rates[::-1], longest)
    ts = np.union1d(grid, slope.sign_changes(grid))
    values = residual(ts)
    # δ may itself lie on the line: it then leaves to its side, and is on it again from the first zero after that.
    clear = np.flatnonzero(values > 0.0)
    fitted = np.flatnonzero(values <= 0.0)
    fitted = fitted[fitted > clear[0]] if clear.size else fitted[:0]
    if not fitted.size:
        return np.inf
    k = int(fitted[0])
    return bracketed_zero(lambda t: float(residual(t)[0]), ts[k - 1], ts[k])
