"""`decompose`: what separates retraining without the deleted points from the influence estimate, gap by gap."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Key

from .._core import (
    RESULTS,
    Array,
    Axed,
    ConvergenceError,
    InputError,
    Labelled,
    Tabular,
    as_matrix,
    as_numbers,
    as_vector,
    decide,
    message,
    pick,
    stack,
    succeeded,
)
from ..flow import checked_any
from ..problem import Problem, pointwise
from ._approximate_responses import approximate_responses
from ._deletions import Points, deletion_sets
from ._pbrf import check_objective
from .curvature import (
    AbstractCurvatureSolver,
    Chunks,
    chunks_for,
    said,
)
from .optima._anchor import SOLVED, Anchor, anchor_at, outputs_of
from .optima._tilted import bregman_response, leave_out
from .optima._trust_region import Minimum, minimise
from .optima._two_precisions import in_float64

STAGES = ("cold LOO", "warm LOO", "proximal LOO", "PBRF", "linearised PBRF", "approximate iHVP")
"""The six answers, in the order in which they are compared."""

GAPS = ("warm start", "proximity", "non-convergence", "linearisation", "solver")
"""What separates each answer from the next."""

Space = Literal["parameters", "outputs", "losses", "functional"]


@dataclass(frozen=True, eq=False, repr=False)
class Decomposition(Tabular, Labelled):
    """Six answers to one question, and the five signed gaps between them, for q deletions.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> found = ef.decompose(problem, ef.train(problem).theta, damping=1e-3)
        >>> len(found.rows())
        5

    | stage              | θ                                                                       |
    |--------------------|-------------------------------------------------------------------------|
    | cold LOO           | a minimum of R_0 reached from θ0                                        |
    | warm LOO           | a minimum of R_0 reached from θ_s                                       |
    | proximal LOO       | argmin R_0(θ) + (λ_d/2)‖θ − θ_s‖², from θ_s                             |
    | PBRF               | argmin 𝓛(θ; θ_s) − Σ c ℓ_j(θ) + ((λ + λ_d)/2)‖θ − θ_s‖²                 |
    | linearised PBRF    | θ_s + (G + (λ + λ_d)I)⁻¹ Σ g_j, exact                                   |
    | approximate iHVP   | the same by the solver whose error is asked for                         |

    Attributes:
        thetas: θ of every stage, the first from the first cold start, shape (6, q, d).
        theta: θ_s, shape (d,).
        outputs: f(θ; x_i) of every stage at all points, shape (6, q, n, *k).
        losses: ℓ_i(θ), shape (6, q, n).
        functional: φ(θ), shape (6, q): the one given, or the summed loss of the deleted points.
        cold_thetas: the cold answer from every start, shape (s, q, d); the first is in `thetas`.
        cold_outputs: its outputs, shape (s, q, n, *k).
        certificate: ‖∇‖₂ of the stage's own objective; relative residual of the last two stages. Shape (6, q).
        result: how each stage ended, shape (6, q).
        cold_result: how each cold start ended, shape (s, q).
        steps: Newton steps, shape (6, q); 0 for the linear solves.
        points: the points removed, shape (q, m).
        damping: λ_d.
        solver: the solver of the last stage.
        name: of the data set and the model.
        chunks: how much was worked on at once, of a model that is not linear.
        dtype: of products with Hessians and G, and of the last stage; all else is in float64 whatever it is.
    """

    stage_names: ClassVar[tuple[str, ...]] = STAGES
    gap_names: ClassVar[tuple[str, ...]] = GAPS
    thetas: Float[np.ndarray, "6 q d"]
    theta: Float[np.ndarray, " d"]
    outputs: Float[np.ndarray, "6 q n *k"]
    losses: Float[np.ndarray, "6 q n"]
    functional: Float[np.ndarray, "6 q"]
    cold_thetas: Float[np.ndarray, "s q d"]
    cold_outputs: Float[np.ndarray, "s q n *k"]
    certificate: Float[np.ndarray, "6 q"]
    result: RESULTS
    cold_result: RESULTS
    steps: Int[np.ndarray, "6 q"]
    points: Int[np.ndarray, "q m"]
    damping: float
    solver: str
    name: str
    chunks: Chunks | None = None
    dtype: str = "float64"

    @property
    def converged(self) -> np.ndarray:
        """Which stages met their own criterion, shape (6, q)."""
        return succeeded(self.result)

    def stages(self, space: Space = "parameters") -> np.ndarray:
        """The six answers in the space asked for, shape (6, q, …)."""
        values = {
            "parameters": self.thetas,
            "outputs": self.outputs,
            "losses": self.losses,
            "functional": self.functional,
        }
        if space not in values:
            raise InputError(f"unknown space {space!r}: choose one of {', '.join(values)}.")
        return values[space]

    def gaps(self, space: Space = "parameters") -> np.ndarray:
        """Signed differences of consecutive stages, in the order of `gap_names`, shape (5, q, …)."""
        values = self.stages(space)
        return values[:-1] - values[1:]

    def closure(self, space: Space = "parameters") -> float:
        """‖Σ gaps − (cold LOO − approximate iHVP)‖/‖gaps‖: how exactly the sum telescopes."""
        values, gaps = self.stages(space), self.gaps(space)
        size = float(np.linalg.norm(gaps))
        error = float(np.linalg.norm(gaps.sum(axis=0) - (values[0] - values[-1])))
        return error / size if size > 0.0 else error

    def sizes(self, space: Space = "outputs") -> Float[np.ndarray, "5 q"]:
        """Root mean square of every gap over the entries of its space (data points and outputs), shape (5, q)."""
        gaps = self.gaps(space)
        return np.sqrt(np.mean(gaps.reshape(*gaps.shape[:2], -1) ** 2, axis=-1))

    def cold_sizes(self, space: Literal["parameters", "outputs"] = "outputs") -> Float[np.ndarray, "s q"]:
        """The warm-start gap's size from every cold start; its spread is `.std(axis=0, ddof=1)`."""
        cold = self.cold_thetas if space == "parameters" else self.cold_outputs
        gaps = cold - self.stages(space)[1]
        return np.sqrt(np.mean(gaps.reshape(*gaps.shape[:2], -1) ** 2, axis=-1))

    def _arrays(self) -> dict[str, Axed]:
        return {
            "stage": ("stage", self.stage_names),
            "theta": ("stage deletion parameter", self.thetas),
            "outputs": ("stage deletion point output?", self.outputs),
            "losses": ("stage deletion point", self.losses),
            "functional": ("stage deletion", self.functional),
            "certificate": ("stage deletion", self.certificate),
            "trained": ("parameter", self.theta),
            "cold_theta": ("start deletion parameter", self.cold_thetas),
        }

    def _figures(self) -> dict[str, object]:
        return self._facts() | said(self.chunks)

    def _facts(self) -> dict[str, object]:
        precision = {} if self.dtype == "float64" else {"dtype": self.dtype}
        return {
            "data": self.name,
            "deletions": len(self.points),
            "damping": self.damping,
            "solver": self.solver,
            **precision,
        }

    def _rows(self) -> list[dict[str, Any]]:
        return self.rows()

    def rows(self) -> list[dict[str, Any]]:
        """One row per gap, averaged over the deletions: its name, size in every space, sign in φ, and certificates."""
        sizes = {space: self.sizes(space).mean(axis=1) for space in ("parameters", "outputs", "losses")}
        spread = self.cold_sizes().std(axis=0, ddof=1).mean() if len(self.cold_thetas) > 1 else np.nan
        signed = self.gaps("functional").mean(axis=1)
        both = self.converged[:-1] & self.converged[1:]
        return [
            {
                "gap": gap,
                "from": STAGES[k],
                "to": STAGES[k + 1],
                **{space: float(values[k]) for space, values in sizes.items()},
                "functional": float(signed[k]),
                "seed spread of outputs": float(spread) if k == 0 else np.nan,
                "converged": f"{int(both[k].sum())} of {both.shape[1]}",
            }
            for k, gap in enumerate(GAPS)
        ]


@checked_any
def decompose(
    problem: Problem,
    theta: Float[Array, " d"],
    *,
    damping: float,
    solver: str | AbstractCurvatureSolver = "lissa",
    theta0: Float[Array, "*s d"] | None = None,
    seeds: int = 1,
    key: Key[Array, ""] | None = None,
    points: Points = None,
    functional: Callable[[Float[np.ndarray, " d"]], Any] | None = None,
    tol: float = 1e-9,
    max_steps: int = 1_000,
    matrix: bool = True,
    max_bytes: int | None = None,
    throw: bool = True,
) -> Decomposition:
    """Split cold retraining − influence estimate into five signed gaps, which sum to it.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.decompose(problem, ef.train(problem).theta, damping=1e-3)
        Decomposition(data=diabetes, LinearModel, deletions=1, damping=0.001, solver=lissa)

    See `Decomposition` for the six stages. The first four are minimised by the trust-region Newton method of `pbrf`,
    each to ‖∇‖ ≤ tol·‖∇ at its start‖ or rounding; the fifth is a linear solve with its residual; the sixth
    meets the solver's own criterion or is flagged: its error is what is measured, so it is not an error here. A problem
    in float32 is answered as `pbrf` answers it; its last stage is in float32 throughout, with residuals in float64.

    Args:
        problem: what is trained, and which points are deleted.
        theta: θ_s, the trained parameters, converged or not, shape (d,).
        damping: λ_d ≥ 0; λ + λ_d > 0 unless the model is linear.
        solver: of the last stage, as in `influence`: a name, or a solver object with its options.
        theta0: cold starts, shape (d,) or (s, d). Default: `seeds` draws of the model's `init` with `key`; for convex
            risks without a key, zero.
        seeds: number of cold starts drawn.
        key: of those draws.
        points: None for the problem's deleted points as one group; "all", points to be removed one at a time, or
            groups of equal size.
        functional: φ(θ), a scalar of θ. Default: the summed loss Σ_j ℓ_j of the deleted points.
        tol: gradient norm, see above.
        max_steps: Newton steps of each minimisation.
        matrix, max_bytes: as in `pbrf`. Without a matrix choose a `solver` that needs none, `CG()` for instance.
        throw: raise if one of the first five stages did not converge.

    Returns:
        A `Decomposition`.

    Raises:
        InputError: as `pbrf`; no cold start for a non-convex risk; a functional that is not a scalar.
        ConvergenceError: which stage of which deletion failed; `.result` holds everything.

    Source: Bae, Ng, Lo, Ghassemi, Grosse, "If influence functions are the answer, then what is the question?", 2022.
    """
    wants = {"damping": damping, "solver": solver, "functional": functional, "tol": tol, "max_steps": max_steps}
    place = as_vector(theta, "theta", problem.dim, narrow=problem.dtype != "float64")
    if theta0 is not None and problem.dtype != "float64":
        theta0 = as_numbers(theta0, "theta0")
    with in_float64(problem) as wide:
        starts, sets = _cold_starts(wide, theta0, seeds, key), deletion_sets(wide, points)
        memory = {"matrix": matrix, "max_bytes": max_bytes}
        found = _decomposed(wide, place, sets, starts, precision=problem.dtype, **wants, **memory)
    if throw:
        _throw(found)
    return found


def _decomposed(
    problem: Problem,
    place: Float[np.ndarray, " d"],
    sets: Int[np.ndarray, "q m"],
    starts: Float[np.ndarray, "s d"],
    *,
    damping: float,
    solver: Any,
    functional: Any,
    tol: float,
    max_steps: int,
    matrix: bool,
    max_bytes: int | None,
    precision: str,
) -> Decomposition:
    """All stages, of a problem in float64; with products in another precision."""
    anchor = anchor_at(problem, place, matrix=matrix, max_bytes=max_bytes, precision=precision)
    lam = check_objective(anchor, damping)
    colds = [anchor_at(problem, start, matrix=matrix, max_bytes=max_bytes) for start in starts]
    runs = [_minimise_stages(anchor, colds, deleted, lam, tol=tol, max_steps=max_steps) for deleted in sets]
    forces = np.stack([anchor.pull(deleted) for deleted in sets])
    lines = [anchor.respond(problem.l2 + lam, force) for force in forces]
    asked = {"damping": lam, "max_bytes": max_bytes, "precision": precision}
    approximate = approximate_responses(problem, place, forces, solver, **asked)
    stages = [[run.cold[0] for run in runs], *([run.warm[k] for run in runs] for k in range(3))]
    cold_thetas = place + np.stack([[run.cold[s].shift for run in runs] for s in range(len(starts))])
    exact = place + np.stack([line.solution for line in lines])
    minima = [place + np.stack([end.shift for end in stage]) for stage in stages]
    thetas = np.stack([*minima, exact, place + approximate.solution])
    residuals, chunks = np.array([line.residual for line in lines]), chunks_for(problem, max_bytes)
    outputs, losses = _evaluate(problem, thetas, chunks)
    linear = decide((~(residuals <= SOLVED), RESULTS.singular))
    return Decomposition(
        thetas=thetas,
        theta=place,
        outputs=outputs,
        losses=losses,
        functional=_functional(functional, thetas, losses, sets),
        cold_thetas=cold_thetas,
        cold_outputs=_evaluate(problem, cold_thetas, chunks)[0],
        certificate=np.stack(
            [*(np.array([end.gradient_norm for end in stage]) for stage in stages), residuals, approximate.residual]
        ),
        result=stack([*(stack([end.result for end in stage]) for stage in stages), linear, approximate.result]),
        cold_result=stack([stack([run.cold[s].result for run in runs]) for s in range(len(starts))]),
        steps=np.array([*([end.steps for end in stage] for stage in stages), *(2 * [[0] * len(sets)])]),
        points=sets,
        damping=lam,
        solver=approximate.solver,
        name=f"{problem.data.name}, {type(problem.model).__name__}",
        chunks=chunks,
        dtype=precision,
    )


def _cold_starts(problem: Problem, theta0: Any, seeds: int, key: Any) -> Float[np.ndarray, "s d"]:
    if theta0 is not None:
        return np.asarray(as_matrix(np.atleast_2d(np.asarray(theta0)), "theta0", problem.dim))
    if key is not None:
        if seeds < 1:
            raise InputError(f"seeds is {seeds}; at least one cold start is needed.")
        return np.stack([np.asarray(problem.model.init(one)) for one in jax.random.split(key, seeds)])
    if not problem.convex:
        raise InputError(
            "cold retraining of a non-convex model depends on its start: pass theta0, or key (and seeds) to draw it."
        )
    return np.zeros((1, problem.dim))


class _Run(NamedTuple):
    """Cold retraining from every start; and warm, proximal and Bregman minima from θ_s."""

    cold: list[Minimum]
    warm: list[Minimum]


def _minimise_stages(
    anchor: Anchor, colds: list[Anchor], deleted: Int[np.ndarray, " m"], damping: float, *, tol: float, max_steps: int
) -> _Run:
    rho, here = anchor.problem.l2 + damping, np.zeros_like(anchor.theta)
    retrained = leave_out(anchor, deleted, 0.0)
    objectives = (
        retrained,
        leave_out(anchor, deleted, damping),
        bregman_response(anchor, deleted, damping, delete_bregman=True),
    )
    cold = [
        minimise(retrained, start.basis, rho, start.theta - anchor.theta, tol=tol, max_steps=max_steps)
        for start in colds
    ]
    return _Run(cold, [minimise(one, anchor.basis, rho, here, tol=tol, max_steps=max_steps) for one in objectives])


def _evaluate(
    problem: Problem, thetas: Float[np.ndarray, "a q d"], chunks: Chunks | None
) -> tuple[np.ndarray, np.ndarray]:
    """Outputs and losses at all points, for every θ."""
    x, y = np.asarray(problem.data.x), np.asarray(problem.data.y)
    step = None if chunks is None else chunks.points
    outputs = [[outputs_of(problem.model, theta, x, step) for theta in stage] for stage in thetas]
    losses = [[pointwise(problem.loss, output, y).values for output in stage] for stage in outputs]
    return np.array(outputs), np.array(losses)


def _functional(functional: Any, thetas: np.ndarray, losses: np.ndarray, sets: np.ndarray) -> Float[np.ndarray, "6 q"]:
    if functional is None:
        return np.stack([losses[:, q, points].sum(axis=-1) for q, points in enumerate(sets)], axis=1)
    values = [[np.asarray(functional(theta)) for theta in stage] for stage in thetas]
    if values[0][0].shape != ():
        raise InputError(f"the functional returned shape {values[0][0].shape}; a scalar of θ is needed.")
    return np.array(values, dtype=np.float64)


def _throw(found: Decomposition) -> None:
    failed = np.argwhere(~found.converged[:-1])
    cold = np.argwhere(~succeeded(found.cold_result))
    if not failed.size and not cold.size:
        return
    stage, q = (int(i) for i in failed[0]) if failed.size else (0, int(cold[0][1]))
    result = pick(found.result, (stage, q)) if failed.size else pick(found.cold_result, (int(cold[0][0]), q))
    raise ConvergenceError(
        f"{len(failed)} of {5 * found.converged.shape[1]} stages and {len(cold)} cold starts failed; the first: "
        f"{STAGES[stage]} without points {found.points[q].tolist()}, {message(result)} (certificate "
        f"{float(found.certificate[stage, q]):.2e}). A larger l2 makes retraining better conditioned; throw=False "
        "keeps what was reached, flagged.",
        found,
    )
