"""The cost of a piecewise-constant control of any system, and its exact gradient, without a matrix.

A control is a row of durations Δ_k and levels u_k. On each piece M equal Runge–Kutta steps (Tsit5, order 5) lead from
x_k to x_{k+1} = Φ(x_k, u_k, Δ_k). The cost φ(x_K) of these steps is a smooth function of Δ and u, and one backward
sweep differentiates exactly it:

    p_K = ∇φ(x_K),  p_k = ∂_xΦᵀ p_{k+1},  ∂φ/∂u_k = ∂_uΦᵀ p_{k+1} ≈ ∫ S dt,  ∂φ/∂Δ_k = ∂_ΔΦᵀ p_{k+1} ≈ 𝓗 on the piece.

A step with slopes K_i = f(X_i, u), X_i = x + hΣ_j a_ij K_j, is differentiated by the adjoint Runge–Kutta step (Hager,
Numer. Math. 87 (2000) 247): from the last stage to the first

    w_i = b_i p + Σ_j a_ji V_j,  V_i = h ∂_xf(X_i, u)ᵀw_i,  ∂x = p + ΣV_i,  ∂u = hΣ ∂_uf(X_i, u)ᵀw_i,  ∂h = Σ K_iᵀw_i.

So f and its derivative are compiled once each, for `CHUNK` steps at most, and a loop in Python chains as many chunks as
there are steps: neither the number of pieces nor that of steps compiles anything. Memory: the states before all steps,
and the slopes of one chunk.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..._core import Array, InputError
from ._system import AbstractSystem

CHUNK = 64
"""Steps in one call of the compiled loops."""

STEP_LIMIT = 200_000
"""Runge–Kutta steps in one rollout: more of them mean a stiff problem, for which explicit steps are the wrong tool."""

AGREEMENT, FINE_AGREEMENT = 1e-6, 1e-9
"""Relative change of the cost on halving the steps with which they count as small enough, on a mesh and for polishing.
The order is 5: the halved steps, which are the ones that are used, are another 30 times better."""

TABLEAU = diffrax.Tsit5.tableau
WEIGHTS = np.asarray(TABLEAU.b_sol)[:-1]
STAGES = np.stack([np.pad(a, (0, len(WEIGHTS) - len(a))) for a in (np.zeros(0), *TABLEAU.a_lower[:-1])])
"""b, and a with row i for stage i. The seventh stage of Tsit5 only estimates an error."""


class Sweep(NamedTuple):
    """The cost of a control and what each of its numbers does to it.

    Attributes:
        cost: φ(x_K).
        levels: ∂φ/∂u_k, shape (K, controls): the integral of the switching function over the piece.
        durations: ∂φ/∂Δ_k, shape (K,): the Hamiltonian on the piece.
        states: x_k, at both ends of every piece, shape (K + 1, d).
        costates: p_k, likewise.
    """

    cost: float
    levels: Float[np.ndarray, "K controls"]
    durations: Float[np.ndarray, " K"]
    states: Float[np.ndarray, "knots d"]
    costates: Float[np.ndarray, "knots d"]


def roll_out(
    system: AbstractSystem,
    steps: int | Int[np.ndarray, " K"],
    start: Float[Array, " d"],
    durations: Float[np.ndarray, " K"],
    levels: Float[np.ndarray, "K controls"],
) -> float:
    """φ(x_K).

    Args:
        system: f and φ.
        steps: M, Runge–Kutta steps per piece: one number, or one for each.
        start: x_0.
        durations: Δ_k.
        levels: u_k.
    """
    return end_cost(system, _forward(system, _Chunks.of(steps, durations, levels), start)[0])


def sweep(
    system: AbstractSystem,
    steps: int | Int[np.ndarray, " K"],
    start: Float[Array, " d"],
    durations: Float[np.ndarray, " K"],
    levels: Float[np.ndarray, "K controls"],
) -> Sweep:
    """Forward for the cost, backward for its exact derivatives. Arguments as in `roll_out`."""
    chunks = _Chunks.of(steps, durations, levels)
    end, passed = _forward(system, chunks, start)
    last, pulled = _slope(system, end), []
    p = last
    for chunk, states in zip(reversed(chunks.parts), reversed(passed), strict=True):
        p, found = _retreat(system, chunk, states, p)
        pulled.append([np.asarray(each)[: chunk.used] for each in (states, *found)])
    states, costates, by_level, by_length = (np.concatenate(part) for part in zip(*reversed(pulled), strict=True))
    first, share = chunks.first, 1.0 / chunks.steps
    return Sweep(
        cost=end_cost(system, end),
        levels=np.add.reduceat(by_level, first),
        durations=np.add.reduceat(by_length, first) * share,
        states=np.concatenate([states[first], np.asarray(end)[None]]),
        costates=np.concatenate([costates[first], np.asarray(last)[None]]),
    )


def swept(
    system: AbstractSystem, start: Float[Array, " d"], length: float, steps: int
) -> Callable[[Float[np.ndarray, "N controls"]], tuple[float, np.ndarray]]:
    """The cost of levels on equal intervals, and its derivatives, as a function of them; see `sweep`.

    Args:
        system, start: what is controlled, from x(s) on.
        length: T − s.
        steps: Runge–Kutta steps per interval.
    """

    def slopes(levels: Float[np.ndarray, "N controls"]) -> tuple[float, np.ndarray]:
        found = sweep(system, steps, start, np.full(len(levels), length / len(levels)), levels)
        return found.cost, found.levels

    return slopes


class _Chunk(NamedTuple):
    """Steps for one call of the compiled loops.

    Attributes:
        used: how many of the rows are steps; an array, since an `int` would be compiled in.
        lengths: h.
        levels: u.
    """

    used: Int[np.ndarray, ""]
    lengths: Float[np.ndarray, " chunk"]
    levels: Float[np.ndarray, "chunk controls"]


class _Chunks(NamedTuple):
    """All steps of a control.

    Attributes:
        steps: per piece, shape (K,).
        parts: in order.
    """

    steps: Int[np.ndarray, " K"]
    parts: list[_Chunk]

    @classmethod
    def of(cls, steps: int | np.ndarray, durations: np.ndarray, levels: np.ndarray) -> "_Chunks":
        each = np.broadcast_to(steps, durations.shape)
        count = int(each.sum())
        idle = (0, -count % CHUNK)
        lengths = np.pad(np.repeat(durations / each, each), idle).reshape(-1, CHUNK)
        controls = np.pad(np.repeat(levels, each, axis=0), (idle, (0, 0))).reshape(-1, CHUNK, levels.shape[1])
        counts = np.minimum(CHUNK, count - CHUNK * np.arange(len(lengths)))
        return cls(each, [_Chunk(*map(np.asarray, rows)) for rows in zip(counts, lengths, controls, strict=True)])

    @property
    def first(self) -> Int[np.ndarray, " K"]:
        """The first step of each piece."""
        return np.cumsum(self.steps) - self.steps


def _forward(
    system: AbstractSystem, chunks: _Chunks, start: Array
) -> tuple[Float[Array, " d"], list[Float[Array, "chunk d"]]]:
    """The end, and the states before the steps of every chunk."""
    x, states = jnp.asarray(start), []
    for chunk in chunks.parts:
        x, before = _advance(system, chunk, x)
        states.append(before)
    return x, states


def end_cost(system: AbstractSystem, x: Float[Array, " d"]) -> float:
    """φ(x)."""
    return float(_cost(system, x))


@eqx.filter_jit
def _cost(system: AbstractSystem, x: Float[Array, " d"]) -> Float[Array, ""]:
    return system.terminal(x)


@eqx.filter_jit
def _slope(system: AbstractSystem, x: Float[Array, " d"]) -> Float[Array, " d"]:
    return jax.grad(system.terminal)(x)


def _slopes(system: AbstractSystem, x: Array, u: Array, h: Array) -> Float[Array, "stages d"]:
    """K_i of one step."""

    def stage(i: Any, slopes: Array) -> Array:
        return jnp.asarray(slopes).at[i].set(system.field(x + h * (jnp.asarray(STAGES)[i] @ slopes), u))

    return jax.lax.fori_loop(0, len(WEIGHTS), stage, jnp.zeros((len(WEIGHTS), len(x)), x.dtype))


def stepped(system: AbstractSystem, x: Array, u: Array, h: Array) -> Float[Array, " d"]:
    """Φ(x, u, h) by one step."""
    return x + h * (jnp.asarray(WEIGHTS) @ _slopes(system, x, u, h))


class Pulled(NamedTuple):
    """What a step does to a costate p after it: the derivatives of Φ(x, u, h)ᵀp. Or of several steps, one row each.

    Attributes:
        state: by x: the costate before it.
        level: by u.
        length: by h.
    """

    state: Float[Array, "*steps d"]
    level: Float[Array, "*steps controls"]
    length: Float[Array, "*steps"]


def pulled_back(system: AbstractSystem, x: Array, u: Array, h: Array, p: Array) -> Pulled:
    """The adjoint Runge–Kutta step."""
    slopes, stages, weights = _slopes(system, x, u, h), jnp.asarray(STAGES), jnp.asarray(WEIGHTS)

    def stage(j: Any, carry: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        i = len(WEIGHTS) - 1 - j
        by_stage, by_level, by_length = carry
        w = weights[i] * p + stages[:, i] @ by_stage
        along_state, along_level = jax.vjp(system.field, x + h * (stages[i] @ slopes), u)[1](h * w)
        return jnp.asarray(by_stage).at[i].set(along_state), by_level + along_level, by_length + slopes[i] @ w

    nothing = jnp.zeros_like(slopes), jnp.zeros_like(u), jnp.zeros((), x.dtype)
    by_stage, by_level, by_length = jax.lax.fori_loop(0, len(WEIGHTS), stage, nothing)
    return Pulled(p + by_stage.sum(axis=0), by_level, by_length)


@eqx.filter_jit
def _advance(system: AbstractSystem, chunk: _Chunk, x: Array) -> tuple[Float[Array, " d"], Float[Array, "chunk d"]]:
    """The state after the steps, and those before each."""
    lengths, levels = jnp.asarray(chunk.lengths), jnp.asarray(chunk.levels)

    def step(i: Any, carry: tuple[Array, Array]) -> tuple[Array, Array]:
        x, states = carry
        return stepped(system, x, levels[i], lengths[i]), jnp.asarray(states).at[i].set(x)

    return jax.lax.fori_loop(0, chunk.used, step, (x, jnp.zeros((len(lengths), len(x)), x.dtype)))


@eqx.filter_jit
def _retreat(system: AbstractSystem, chunk: _Chunk, states: Array, p: Array) -> tuple[Float[Array, " d"], Pulled]:
    """The costate before the steps, and what each of them does to it, one row a step."""
    lengths, levels = jnp.asarray(chunk.lengths), jnp.asarray(chunk.levels)

    def step(j: Any, carry: tuple[Array, Pulled]) -> tuple[Array, Pulled]:
        i = chunk.used - 1 - j
        p, rows = carry
        pulled = pulled_back(system, states[i], levels[i], lengths[i], p)
        return pulled.state, Pulled(*(jnp.asarray(a).at[i].set(b) for a, b in zip(rows, pulled, strict=True)))

    nothing = Pulled(jnp.zeros_like(states), jnp.zeros_like(levels), jnp.zeros_like(lengths))
    return jax.lax.fori_loop(0, chunk.used, step, (p, nothing))


def choose_steps(
    system: AbstractSystem,
    start: Float[Array, " d"],
    durations: Float[np.ndarray, " K"],
    controls: list[Float[np.ndarray, "K controls"]],
    unit: float,
    agreement: float = AGREEMENT,
) -> int:
    """The least power of two of steps per piece that changed the cost of none of the given controls any more.

    A cost below a millionth of `unit` is compared with that instead: it may be zero.

    Raises:
        InputError: the limit on steps is reached first.
    """
    steps, last = 1, np.full(len(controls), np.inf)
    while steps * len(durations) <= STEP_LIMIT:
        here = np.array([roll_out(system, steps, start, durations, u) for u in controls])
        if np.isfinite(here).all() and (np.abs(here - last) <= agreement * np.maximum(np.abs(here), 1e-6 * unit)).all():
            return steps
        steps, last = 2 * steps, here
    raise InputError(
        f"the flow needs more than {STEP_LIMIT} explicit steps between s and T: it is stiff, or it leaves every bound. "
        'Use a smaller T − s, features of unit variance, or method="collocation", which has no stability limit.'
    )
