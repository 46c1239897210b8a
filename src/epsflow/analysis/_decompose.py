"""`decompose`: what separates retraining without the deleted points from the influence estimate, gap by gap."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from .._core import RESULTS, Array, ConvergenceError, InputError, as_matrix, message
from ..problem import EmpiricalRisk, Problem
from ._deletions import deletion_sets
from ._pbrf import check_objective, linear_response, preconditioner
from .curvature._curvature import Curvature, curvature_at
from .curvature._solve import AbstractCurvatureSolver, solve
from .optima._tilted import GaussNewton, bregman_response, leave_out, model_outputs
from .optima._trust_region import Minimum, minimise, pick

STAGES = ("cold LOO", "warm LOO", "proximal LOO", "PBRF", "linearised PBRF", "approximate iHVP")
"""The six answers, in the order in which they are compared."""

GAPS = ("warm start", "proximity", "non-convergence", "linearisation", "solver")
"""What separates each answer from the next."""

Space = Literal["parameters", "outputs", "losses", "functional"]


class Decomposition(eqx.Module):
    """Six answers to one question, and the five signed gaps between them, for q deletions.

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
        theta_s: θ_s, shape (d,).
        outputs: f(θ; x_i) of every stage at all points, shape (6, q, n, *k).
        losses: ℓ_i(θ), shape (6, q, n).
        functional: φ(θ), shape (6, q): the one given, or the summed loss of the deleted points.
        cold_thetas: the cold answer from every start, shape (s, q, d); the first is in `thetas`.
        cold_outputs: its outputs, shape (s, q, n, *k).
        certificate: ‖∇‖₂ of the stage's own objective; relative residual of the last two stages. Shape (6, q).
        result: how each stage ended, shape (6, q).
        cold_result: how each cold start ended, shape (s, q).
        iterations: Newton steps, shape (6, q); 0 for the linear solves.
        deletions: the points removed, shape (q, m).
        damping: λ_d.
        solver: the solver of the last stage.
        name: of the data set and the model.
    """

    stage_names: ClassVar[tuple[str, ...]] = STAGES
    gap_names: ClassVar[tuple[str, ...]] = GAPS
    thetas: Float[Array, "6 q d"]
    theta_s: Float[Array, " d"]
    outputs: Float[Array, "6 q n *k"]
    losses: Float[Array, "6 q n"]
    functional: Float[Array, "6 q"]
    cold_thetas: Float[Array, "s q d"]
    cold_outputs: Float[Array, "s q n *k"]
    certificate: Float[Array, "6 q"]
    result: RESULTS
    cold_result: RESULTS
    iterations: Int[Array, "6 q"]
    deletions: Int[np.ndarray, "q m"]
    damping: Float[Array, ""]
    solver: str = eqx.field(static=True)
    name: str = eqx.field(static=True)

    @property
    def converged(self) -> np.ndarray:
        """Which stages met their own criterion, shape (6, q)."""
        return np.asarray(self.result == RESULTS.successful)

    def stages(self, space: Space = "parameters") -> Array:
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

    def gaps(self, space: Space = "parameters") -> Array:
        """Signed differences of consecutive stages, in the order of `gap_names`, shape (5, q, …)."""
        values = self.stages(space)
        return values[:-1] - values[1:]

    def closure(self, space: Space = "parameters") -> float:
        """‖Σ gaps − (cold LOO − approximate iHVP)‖/‖gaps‖: how exactly the sum telescopes."""
        values, gaps = self.stages(space), self.gaps(space)
        size = float(jnp.linalg.norm(gaps))
        error = float(jnp.linalg.norm(jnp.sum(gaps, axis=0) - (values[0] - values[-1])))
        return error / size if size > 0.0 else error

    def sizes(self, space: Space = "outputs") -> Float[np.ndarray, "5 q"]:
        """Root mean square of every gap over the entries of its space (data points and outputs), shape (5, q)."""
        gaps = np.asarray(self.gaps(space))
        return np.sqrt(np.mean(gaps.reshape(*gaps.shape[:2], -1) ** 2, axis=-1))

    def cold_sizes(self, space: Literal["parameters", "outputs"] = "outputs") -> Float[np.ndarray, "s q"]:
        """The warm-start gap's size from every cold start; its spread is `.std(axis=0, ddof=1)`."""
        cold = self.cold_thetas if space == "parameters" else self.cold_outputs
        gaps = np.asarray(cold - self.stages(space)[1])
        return np.sqrt(np.mean(gaps.reshape(*gaps.shape[:2], -1) ** 2, axis=-1))

    def rows(self) -> list[dict[str, Any]]:
        """One row per gap, averaged over the deletions: its name, size in every space, sign in φ, and certificates."""
        sizes = {space: self.sizes(space).mean(axis=1) for space in ("parameters", "outputs", "losses")}
        spread = self.cold_sizes().std(axis=0, ddof=1).mean() if len(self.cold_thetas) > 1 else np.nan
        signed = np.asarray(self.gaps("functional")).mean(axis=1)
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


def decompose(
    problem: Problem,
    theta_s: Float[Array, " d"] | np.ndarray,
    *,
    damping: float,
    solver: str | AbstractCurvatureSolver = "lissa",
    theta0: Float[Array, "*s d"] | np.ndarray | None = None,
    seeds: int = 1,
    key: Key[Array, ""] | None = None,
    points: Literal["all"] | Sequence[int] | Int[np.ndarray, " q"] | None = None,
    functional: Callable[[Float[Array, " d"]], Array] | None = None,
    tol: float = 1e-9,
    max_steps: int = 1_000,
    throw: bool = True,
) -> Decomposition:
    """Split cold retraining − influence estimate into five signed gaps, which sum to it.

    See `Decomposition` for the six stages. The first four are minimised by the trust-region Newton method of `pbrf`,
    each to ‖∇‖ ≤ tol·min(1, ‖∇ at its start‖) or rounding; the fifth is a linear solve with its residual; the sixth
    meets the solver's own criterion or is flagged: its error is what is measured, so it is not an error here.

    Args:
        problem: what is trained, and which points are deleted.
        theta_s: the trained parameters, converged or not, shape (d,).
        damping: λ_d ≥ 0; λ + λ_d > 0 unless the model is linear.
        solver: of the last stage, as in `influence`: a name, or a solver object with its options.
        theta0: cold starts, shape (d,) or (s, d). Default: `seeds` draws of the model's `init` with `key`; for convex
            risks without a key, zero.
        seeds: number of cold starts drawn.
        key: of those draws.
        points: None for the problem's deleted points as one group; "all", or points to be removed one at a time.
        functional: φ(θ), a scalar of θ. Default: the summed loss Σ_j ℓ_j of the deleted points.
        tol: gradient norm, see above.
        max_steps: Newton steps of each minimisation.
        throw: raise if one of the first five stages did not converge.

    Returns:
        A `Decomposition`.

    Raises:
        InputError: as `pbrf`; no cold start for a non-convex risk; a functional that is not a scalar.
        ConvergenceError: which stage of which deletion failed; `.result` holds everything.

    Source: Bae, Ng, Lo, Ghassemi, Grosse, "If influence functions are the answer, then what is the question?", 2022.
    """
    anchor, sets = problem.parameters(theta_s, "theta_s"), deletion_sets(problem, points)
    starts = _cold_starts(problem, theta0, seeds, key)
    curvature, basis = preconditioner(problem, anchor)
    lam = check_objective(problem, basis, damping)
    risk = problem.empirical()
    limits = jnp.asarray(tol), jnp.asarray(max_steps)
    cold_bases = [preconditioner(problem, start)[1] for start in starts]
    runs = [_minimise_stages(risk, basis, cold_bases, starts, anchor, jnp.asarray(p), lam, limits) for p in sets]
    forces = jnp.stack([jnp.sum(problem.point_gradients(anchor, points.tolist()), axis=0) for points in sets])
    lines, residuals, linear = _linear_responses(curvature, basis, jnp.asarray(problem.l2 + lam), forces)
    approximate = solve(curvature_at(problem, anchor, "ggn", damping=lam, data=True), forces, solver, throw=False)
    colds = [[run[0][s] for run in runs] for s in range(len(starts))]
    minima = [colds[0], *([run[1][k] for run in runs] for k in range(3))]
    thetas = [anchor + jnp.stack([end.shift for end in stage]) for stage in minima]
    cold_thetas = anchor + jnp.stack([jnp.stack([end.shift for end in stage]) for stage in colds])
    thetas = jnp.stack([*thetas, anchor + lines, anchor + approximate.solution])
    outputs, losses = _evaluate(risk, thetas)
    found = Decomposition(
        thetas=thetas,
        theta_s=anchor,
        outputs=outputs,
        losses=losses,
        functional=_functional(functional, thetas, losses, sets),
        cold_thetas=cold_thetas,
        cold_outputs=_evaluate(risk, cold_thetas)[0],
        certificate=jnp.stack(
            [*(jnp.stack([end.gradient_norm for end in stage]) for stage in minima), residuals, approximate.residuals]
        ),
        result=_stack([*(_stack([end.result for end in stage]) for stage in minima), linear, approximate.result]),
        cold_result=_stack([_stack([end.result for end in stage]) for stage in colds]),
        iterations=jnp.stack(
            [*(jnp.stack([end.iterations for end in s]) for s in minima), *(2 * [jnp.zeros(len(sets), int)])]
        ),
        deletions=sets,
        damping=jnp.asarray(lam, dtype=jnp.float64),
        solver=approximate.solver,
        name=f"{problem.data.name}, {type(problem.model).__name__}",
    )
    if throw:
        _throw(found)
    return found


def _cold_starts(problem: Problem, theta0: Any, seeds: int, key: Any) -> Float[Array, "s d"]:
    if theta0 is not None:
        return as_matrix(np.atleast_2d(np.asarray(theta0)), "theta0", problem.dim)
    if key is not None:
        if seeds < 1:
            raise InputError(f"seeds is {seeds}; at least one cold start is needed.")
        return jnp.stack([problem.model.init(one) for one in jax.random.split(key, seeds)])
    if not problem.convex:
        raise InputError(
            "cold retraining of a non-convex model depends on its start: pass theta0, or key (and seeds) to draw it."
        )
    return jnp.zeros((1, problem.dim))


def _minimise_stages(
    risk: EmpiricalRisk,
    basis: GaussNewton,
    cold_bases: list[GaussNewton],
    starts: Array,
    anchor: Array,
    deleted: Int[Array, " m"],
    damping: float,
    limits: tuple[Array, Array],
) -> tuple[list[Minimum], list[Minimum]]:
    """Cold retraining from every start; and warm, proximal and Bregman minima from θ_s."""
    rho, here = risk.l2 + damping, jnp.zeros_like(anchor)
    retrained = leave_out(risk, anchor, deleted, 0.0)
    warm = (
        retrained,
        leave_out(risk, anchor, deleted, damping),
        bregman_response(risk, anchor, deleted, damping, True),
    )
    cold = [
        minimise_jit(retrained, cold_basis, rho, start - anchor, *limits)
        for cold_basis, start in zip(cold_bases, starts, strict=True)
    ]
    return cold, [minimise_jit(objective, basis, rho, here, *limits) for objective in warm]


minimise_jit: Callable[..., Minimum] = eqx.filter_jit(minimise)


@eqx.filter_jit
def _linear_responses(
    curvature: Curvature, basis: GaussNewton, rho: Array, forces: Array
) -> tuple[Array, Array, RESULTS]:
    return jax.lax.map(lambda force: linear_response(curvature, basis, rho, force), forces)


@eqx.filter_jit
def _evaluate(risk: EmpiricalRisk, thetas: Float[Array, "a q d"]) -> tuple[Array, Array]:
    """Outputs and losses at all points, for every θ."""

    def at(theta: Array) -> tuple[Array, Array]:
        outputs = model_outputs(risk, theta)
        return outputs, jax.vmap(risk.loss)(outputs, risk.y)

    return jax.vmap(jax.vmap(at))(thetas)


def _functional(functional: Any, thetas: Array, losses: Array, sets: np.ndarray) -> Float[Array, "6 q"]:
    if functional is None:
        return jnp.stack([losses[:, q, points].sum(axis=-1) for q, points in enumerate(sets)], axis=1)
    values = [[functional(theta) for theta in stage] for stage in thetas]
    if jnp.shape(values[0][0]) != ():
        raise InputError(f"the functional returned shape {jnp.shape(values[0][0])}; a scalar of θ is needed.")
    return jnp.asarray(values)


def _stack(results: list[RESULTS]) -> RESULTS:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *results)


def _throw(found: Decomposition) -> None:
    failed = np.argwhere(~found.converged[:-1])
    cold = np.argwhere(np.asarray(found.cold_result != RESULTS.successful))
    if not failed.size and not cold.size:
        return
    stage, q = (int(i) for i in failed[0]) if failed.size else (0, int(cold[0][1]))
    result = pick(found.result, (stage, q)) if failed.size else pick(found.cold_result, (int(cold[0][0]), q))
    raise ConvergenceError(
        f"{len(failed)} of {5 * found.converged.shape[1]} stages and {len(cold)} cold starts failed; the first: "
        f"{STAGES[stage]} without points {found.deletions[q].tolist()}, {message(result)} (certificate "
        f"{float(found.certificate[stage, q]):.2e}). A larger l2 makes retraining better conditioned; throw=False "
        "keeps what was reached, flagged.",
        found,
    )
