"""Direct transcription of linear regression: exact in every direction but one per deleted point.

In the eigenbasis of H_{-D} (see `linear._task`) δ̇ = −Λδ + f − Σ_j u_j x_j e_j with e_j = x_jᵀδ − r_j. On an interval
of length h the residuals e_j are polynomials through K Gauss–Legendre nodes c_i; all else is integrated exactly:

    δ(τh) = e^{−Λτh} δ(0) + f∘φ(τ) − Σ_j u_j x_j ∘ Σ_i e_ij A_i(τ),   A_i(τ) = ∫₀^{τh} e^{−Λ(τh − r)} L_i(r/h) dr

(see `flow._panels`, where u is known). Stiff directions cost nothing, and a program has N(d + (K+1)m) variables instead
of the N(K+1)d of plain collocation.
"""

from functools import lru_cache

import numpy as np
from jaxtyping import Float

from ...flow._panels import LinearSystem, Panels, panels
from ..linear._task import LinearTask
from ..terms._deadline import Deadline
from ..terms._window import Effort, MeshWindow
from ._casadi import ca
from ._program import Program, Transcription, build_program, differentiable

NODES = 3


@lru_cache(maxsize=32)
def exponential_program(
    d: int, m: int, controls: int, intervals: int, factor: tuple[int, ...], effort: Effort
) -> Program:
    """The program for d parameters and m deleted points, with one control for all of them or one each.

    `factor`: the shape of L in the cost ½‖Lδ(T)‖², the last of the parameters; (d,) for a diagonal. `effort`: whether,
    and how, ∫|u| dt enters.
    """
    delta, variables = ca.SX.sym("delta", d), ca.SX.sym("w", controls + NODES * m + d)
    sizes = {"decay": d, "drift": d, "push": d * NODES * m, "start": NODES * m * d, "free": NODES * m}
    p = {name: ca.SX.sym(name, size) for name, size in sizes.items()}
    echo = ca.SX.sym("echo", (NODES * m) ** 2)
    residuals, end = variables[controls : controls + NODES * m], variables[controls + NODES * m :]
    forces = [variables[min(j, controls - 1)] * residuals[i * m + j] for i in range(NODES) for j in range(m)]
    # CasADi stores columns first, the parameters come in C order: a C-ordered (a, b) array is read as (b, a).T.
    push = ca.reshape(p["push"], NODES * m, d).T
    start = ca.reshape(p["start"], d, NODES * m).T
    arrives = p["decay"] * delta + p["drift"] - push @ ca.vertcat(*forces)
    sees = start @ delta + p["free"] - ca.reshape(echo, NODES * m, NODES * m).T @ ca.vertcat(*forces)
    weights = ca.SX.sym("factor", int(np.prod(factor)))
    image = weights * delta if len(factor) == 1 else ca.reshape(weights, d, factor[0]).T @ delta
    numbers = [*p.values(), echo, weights]
    terminal = ca.Function("terminal", [delta, *numbers], [0.5 * ca.sumsqr(image)])
    inputs = [delta, variables, *numbers]
    interval = differentiable("interval", inputs, [ca.vertcat(end - arrives, residuals - sees)])
    return build_program(interval, terminal, intervals, controls, d, effort)


class Interval:
    """The numbers of one interval of length h, in the order in which `exponential_program` takes them."""

    def __init__(self, task: LinearTask, h: float):
        """From the panel of that length on which the flow itself collocates smooth weights."""
        system = LinearSystem(task.rates, task.rows, task.residuals, task.drift)
        panel, seen = Panels(*(part[0] for part in panels(system, np.array([h]), NODES))), NODES * task.points
        self.decay, self.drift = panel.fade[:, -1], panel.drift[:, -1]
        # push[k, (i, j)]: what δ_k at the end loses to a unit force u_j e_ij.
        self.push, self.echo = panel.push.T, panel.coupling[:, :seen].T
        self.start = (panel.fade[:, :NODES].T[:, None] * task.rows).reshape(seen, -1)
        self.free = ((task.rows @ panel.drift[:, :NODES]).T - task.residuals).ravel()

    @property
    def parameters(self) -> list[np.ndarray]:
        """In the order of the program."""
        return [self.decay, self.drift, self.push, self.start, self.free, self.echo]

    def roll_out(
        self, start: Float[np.ndarray, " d"], values: Float[np.ndarray, "N controls"], points: int
    ) -> Float[np.ndarray, "N variables"]:
        """The variables that satisfy every equation for given controls: a feasible point to start from."""
        rows, delta = [], start
        for value in values:
            weights = np.tile(np.broadcast_to(value, (points,)), NODES)
            residuals = np.linalg.solve(np.eye(len(self.free)) + self.echo * weights, self.start @ delta + self.free)
            delta = self.decay * delta + self.drift - self.push @ (weights * residuals)
            rows.append(np.concatenate([value, residuals, delta]))
        return np.array(rows)


def transcribe_exponentially(
    task: LinearTask, window: MeshWindow, deadline: Deadline, *, intervals: int, controls: int
) -> Transcription:
    """Linear regression as a program, built, or found where it was built before; with one control, or one per point."""
    sizes = len(task.rates), task.points, controls, intervals, task.form.factor.shape
    interval = Interval(task, window.length / intervals)
    return Transcription(
        window=window,
        deadline=deadline,
        program=exponential_program(*sizes, window.effort),
        parameters=[task.start, *interval.parameters, task.form.factor],
        feasible=lambda values: interval.roll_out(task.start, values, task.points),
    )
