"""Linear regression as a condensed quadratic program: the second, independent way to the certified optimum.

Where every residual e_j keeps its sign σ_j, w_j = u_j e_j makes the dynamics linear and the constraints too (see
`bounds._dual`). With w constant on N equal intervals, δ(T) is affine in the N·m numbers w whatever d is, and so is e at
any time, so that the program is

    min ½‖L(δ_0 − G w)‖²   subject to   a σ_j e_j ≤ σ_j w_j ≤ b σ_j e_j   in the middle of every interval.

The optimal w is not constant where u is, so its answer is first-order in the mesh, in the interval of a switch, and
second-order elsewhere. The polished schedule has no mesh at all and costs less: users have no need for this route. It
shares no step with the polish but the eigenbasis (no costate, no structure, no Newton), and that is what it is kept
for: each is the other's test. Solvers were chosen by `benchmarks/bench_conic.py`.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..._core import decay_integral
from ..linear._pencil import coordinates
from ..linear._task import LinearTask
from ..terms._levels import as_column
from ..terms._runs import Candidate
from ._casadi import ca

SOLVER = "osqp"
OPTIONS: dict[str, Any] = {
    "osqp": {"verbose": False, "eps_abs": 1e-8, "eps_rel": 1e-8, "max_iter": 20_000, "polish": True}
}
"""CasADi's plugin: as accurate as any at every size, silent, and it ends; HiGHS is faster where it does, but cycles on
some programs. Its polishing reaches 1e-9 from 1e-8 on, while stopping at 1e-9 can take it minutes (500 intervals in
`bench_scaling.py`)."""


class Condensed(NamedTuple):
    """The quadratic program in units of its own: ½‖offset − map·w‖², lower ≤ rows·w ≤ upper.

    Attributes:
        map: LG, shape (k, N·m).
        offset: Lδ_0, shape (k,).
        rows: constraints, shape (2·N·m, N·m).
        lower: what they must not fall below, shape (2·N·m,).
    """

    map: Float[np.ndarray, "k n"]
    offset: Float[np.ndarray, " k"]
    rows: Float[np.ndarray, "c n"]
    lower: Float[np.ndarray, " c"]


class ConicRun(NamedTuple):
    """One run of a conic solver.

    Attributes:
        candidate: ε = w/e on the intervals, shape (N,) or (N, m), and the solver's words.
        value: the least ½‖Lδ(T)‖² over w on the mesh; no bound, because the mesh is no restriction of u, but near 𝓔*.
    """

    candidate: Candidate
    value: float


def condense(task: LinearTask, signs: np.ndarray, intervals: int) -> Condensed:
    """The program for given signs; cost N²·m²·d beyond the eigendecomposition.

    Args:
        task: linear regression.
        signs: σ_j, settled.
        intervals: N.
    """
    (low, high), rates, rows = task.bounds, task.rates, task.rows
    h, m = task.length / intervals, task.points
    elapsed = h * np.arange(intervals + 1)
    free = partial(coordinates, task.spectrum(0.0), task.start)
    # A unit of w_j on an interval moves δ, a time τ after its end, by −e^{−Λτ}φ(h)x_j.
    pulse = decay_integral(rates, np.array(h)) * rows
    gains = -np.exp(-rates * (task.length - elapsed[1:])[:, None, None]) * pulse
    target = np.stack([task.form.image(row) for row in gains.reshape(intervals * m, -1)], axis=1)
    echoes = np.einsum("kd,jd,id->kji", np.exp(-rates * ((elapsed[:-1] + 0.5 * h)[:, None])), rows, pulse)
    half = np.einsum("jd,id->ji", rows, decay_integral(rates, np.array(0.5 * h)) * rows)
    residual = np.zeros((intervals, m, intervals, m))
    for k in range(intervals):
        residual[k, :, k] = -half
        for j in range(k):
            residual[k, :, j] = -echoes[k - 1 - j]
    residual = signs[None, :, None, None] * residual
    residual = residual.reshape(intervals * m, intervals * m)
    start = (signs * task.residual(free(elapsed[:-1] + 0.5 * h))).ravel()
    own = np.diag(np.tile(signs, intervals).astype(float))
    offset = task.form.image(free(elapsed[-1:])[0])
    # σw ≥ a σe and b σe ≥ σw.
    constraints = np.vstack([own - low * residual, high * residual - own])
    return Condensed(-target, offset, constraints, np.concatenate([low * start, -high * start]))


def solve_conic(
    task: LinearTask,
    signs: Int[np.ndarray, " m"],
    intervals: int,
    *,
    solver: str = SOLVER,
    options: dict[str, Any] = OPTIONS,
) -> ConicRun:
    """The optimum on a mesh by one of CasADi's conic solvers.

    Args:
        task: linear regression with one weight per deleted point.
        signs: σ_j, which every e_j must keep under all admissible controls: otherwise this is not its program.
        intervals: N.
        solver, options: of CasADi.
    """
    program = condense(task, signs, intervals)
    scale = max(float(np.linalg.norm(program.offset)), np.finfo(np.float64).tiny)
    unit = float(np.abs(program.map).max()) / scale
    matrix = program.map / (scale * unit)  # of order one in w·unit, so that tolerances mean the same in every problem
    hessian, slope = matrix.T @ matrix, -(matrix.T @ program.offset) / scale
    shapes = {"h": ca.Sparsity.dense(*hessian.shape), "a": ca.Sparsity.dense(*program.rows.shape)}
    run = ca.conic("qp", solver, shapes, {**options, "error_on_fail": False})
    found = run(h=hessian, g=slope, a=program.rows, lba=program.lower * unit, uba=np.inf)
    stats = run.stats()
    w = np.asarray(found["x"]).ravel() / unit
    value = 0.5 * float(np.sum((program.offset - program.map @ w) ** 2))
    return ConicRun(_candidate(task, program, w, intervals, solver, stats), value)


def _candidate(
    task: LinearTask, program: Condensed, w: np.ndarray, intervals: int, solver: str, stats: dict[str, object]
) -> Candidate:
    """ε = w/e in the middle of each interval, within the bounds."""
    low, high = task.bounds
    # Each pair of constraints holds σ(w − a e) and σ(b e − w); their sum is (b − a)σe.
    slack = (program.rows @ w - program.lower).reshape(2, -1)
    residual = slack.sum(axis=0) / (high - low)
    eps = low + slack[0] / np.where(residual == 0.0, 1.0, residual)
    values = np.clip(np.where(np.isfinite(eps), eps, low), low, high).reshape(intervals, -1)
    status, success = str(stats.get("return_status", stats.get("unified_return_status", ""))), bool(stats["success"])
    count = stats.get("iter_count", 0)
    iterations = count if isinstance(count, int) else 0
    return Candidate(f"qp ({solver})", as_column(values), status, success, iterations)
