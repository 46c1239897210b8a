"""State, costate and Pontryagin's figures of linear regression along weights that are smooth between jumps.

θ runs forward by collocation on panels (`flow._decays`). So does the costate: with τ = T − t, ṗ = H_u p becomes
dp/dτ = −(Λ + Σ_j u_j(T − τ) x_j x_jᵀ) p, the same flow without residuals and drift, from p(T) = LᵀLδ(T), under the
weight run backward.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...flow._decays import Flow, integrate
from ...flow._panels import LinearSystem
from ...schedules import AbstractSchedule
from ..terms._extremal import AbstractPath, Extremal, Point, Signals, extremal_along
from ._task import LinearTask


@dataclass(frozen=True, eq=False)
class SmoothPath(AbstractPath):
    """θ and p by collocation, to a proved bound; every evaluation runs both flows once more, at the times asked for.

    Attributes:
        task: the problem in the eigenbasis.
        schedule: ε(t).
        knots: its jumps, and s and T.
    """

    task: LinearTask
    schedule: AbstractSchedule
    knots: Float[np.ndarray, " knots"]

    def at(self, ts: Float[np.ndarray, " k"]) -> Point:
        """See `AbstractPath`."""
        states, costates = self._pair(ts)
        return Point(self.task.theta(states), costates @ self.task.basis.T)

    def signals(self, ts: Float[np.ndarray, " k"]) -> Signals:
        """See `AbstractPath`."""
        states, costates = self._pair(ts)
        task, eps = self.task, self._inside(ts)
        along, residual = costates @ task.rows.T, task.residual(states)
        switching = -along * residual
        weights = eps[:, None] if eps.ndim == 1 else eps
        hamiltonian = np.sum(costates * (task.drift - task.rates * states), axis=1) + np.sum(
            weights * switching, axis=1
        )
        # One weight for all points: what counts is the sum.
        return Signals(switching.sum(axis=1) if eps.ndim == 1 else switching, hamiltonian, eps)

    def forward(self, ts: Float[np.ndarray, " k"]) -> Flow:
        """δ at ascending times and at T."""
        pencil = self.task.pencil
        system = LinearSystem(pencil.rates, pencil.rows, pencil.residuals, pencil.drift)
        return integrate(system, self.task.start[None], self.knots, self._columns, ts=ts)

    def backward(self, end: Float[np.ndarray, " d"], ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k d"]:
        """p at ascending times, from p(T)."""
        pencil, (first, last) = self.task.pencil, self.knots[[0, -1]]
        system = LinearSystem(pencil.rates, pencil.rows, np.zeros_like(pencil.residuals), np.zeros_like(pencil.drift))

        def reversed_columns(taus: Float[np.ndarray, " n"]) -> Float[np.ndarray, "1 n c"]:
            return self._columns(last - taus)

        knots, taus = (last - self.knots)[::-1], np.clip(last - ts[::-1], 0.0, last - first)
        return integrate(system, end[None], knots, reversed_columns, ts=taus).passed[::-1]

    def _pair(self, ts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """δ and p at any times."""
        order = np.argsort(ts, kind="stable")
        flow = self.forward(ts[order])
        costates = self.backward(self.task.form.gradient(flow.states[0]), ts[order])
        states = np.empty((2, *costates.shape))
        states[:, order] = flow.passed, costates
        return states[0], states[1]

    def _inside(self, ts: Float[np.ndarray, " k"]) -> Float[np.ndarray, "k *m"]:
        """ε, at a jump that of the arc which the jump closes, at s of the arc which s opens."""
        first, last = self.knots[[0, -1]]
        nudge = 1e-14 * (last - first)
        closed = np.where(np.isin(ts, self.knots[1:]), ts - nudge, ts)
        return np.asarray(self.schedule(np.clip(closed, first + nudge, last - nudge)))

    def _columns(self, ts: Float[np.ndarray, " n"]) -> Float[np.ndarray, "1 n c"]:
        return np.asarray(self.schedule(ts)).reshape(1, len(ts), -1)


def smooth_extremal(task: LinearTask, schedule: AbstractSchedule) -> Extremal:
    """The extremal of a schedule that is smooth between its jumps."""
    jumps = np.asarray(schedule.jump_ts)
    knots = np.concatenate([[task.s], jumps[(jumps > task.s) & (jumps < task.T)], [task.T]])
    path = SmoothPath(task, schedule, np.unique(knots))
    flow = path.forward(np.empty(0))
    miss = flow.states[0]
    steepest = np.abs(task.rates).max() + max(map(abs, task.bounds)) * np.square(task.rows).sum()
    # To first order, beside the flow's own bound: eigenvalues carry an error of d·u·μ_max, which acts for T.
    rounding = len(miss) * np.finfo(np.float64).eps * (1.0 + steepest * task.T) * flow.size.max()
    wrong = float(flow.errors.max() + rounding)
    figures = {
        "cost": task.form.value(miss),
        "error": np.linalg.norm(task.form.gradient(miss)) * wrong + 0.5 * (task.form.norm * wrong) ** 2,
        "method": "collocation",
    }
    return extremal_along(path, path.knots, steepest, task.bounds, task.price, **figures)
