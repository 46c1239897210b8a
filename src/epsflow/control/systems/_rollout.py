"""The cost of a piecewise-constant control of any system, and its exact gradient, without a matrix.

A control is a row of durations Δ_k and levels u_k. On each piece M equal Runge–Kutta steps (Tsit5, order 5) lead from
x_k to x_{k+1} = Φ(x_k, u_k, Δ_k). The cost φ(x_K) of these steps is a smooth function of Δ and u, and one backward
sweep differentiates exactly it:

    p_K = ∇φ(x_K),  p_k = ∂_xΦᵀ p_{k+1},  ∂φ/∂u_k = ∂_uΦᵀ p_{k+1} ≈ ∫ S dt,  ∂φ/∂Δ_k = ∂_ΔΦᵀ p_{k+1} ≈ 𝓗 on the piece.

Memory: the K states x_k, and within a piece diffrax's checkpoints.
"""

from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import Array, InputError
from ._system import AbstractSystem

CHECKPOINTS = 8
"""States that are kept within one piece while it is differentiated; further steps are computed again."""

STEP_LIMIT = 200_000
"""Runge–Kutta steps in one rollout: more of them mean a stiff problem, for which explicit steps are the wrong tool."""

AGREEMENT, FINE_AGREEMENT = 1e-6, 1e-9
"""Relative change of the cost on halving the steps with which they count as small enough, on a mesh and for polishing.
The order is 5: the halved steps, which are the ones that are used, are another 30 times better."""


class Sweep(NamedTuple):
    """The cost of a control and what each of its numbers does to it.

    Attributes:
        cost: φ(x_K).
        levels: ∂φ/∂u_k, shape (K, controls): the integral of the switching function over the piece.
        durations: ∂φ/∂Δ_k, shape (K,): the Hamiltonian on the piece.
        switching: S = ∂_u f(x, u)ᵀp at both ends of every piece, in order, shape (K + 1, controls).
    """

    cost: Float[Array, ""]
    levels: Float[Array, "K controls"]
    durations: Float[Array, " K"]
    switching: Float[Array, "knots controls"]


def _scaled_field(_: Any, x: Array, args: tuple[AbstractSystem, Array, Array]) -> Array:
    system, u, step = args
    return step * system.field(x, u)


def _piece(system: AbstractSystem, steps: Array, x: Array, u: Array, duration: Array) -> Array:
    """Φ(x, u, Δ). Time is counted in steps, so that Δ enters by the field alone and is differentiated with it."""
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(_scaled_field),
        diffrax.Tsit5(),
        t0=0.0,
        t1=steps,
        dt0=1.0,
        y0=x,
        args=(system, u, duration / steps),
        saveat=diffrax.SaveAt(t1=True),
        adjoint=diffrax.RecursiveCheckpointAdjoint(checkpoints=CHECKPOINTS),
        max_steps=None,
        throw=False,
    )
    return jnp.asarray(solution.ys)[-1]


def _states(
    system: AbstractSystem, steps: Array, start: Array, durations: Array, levels: Array
) -> tuple[Float[Array, " d"], Float[Array, "K d"]]:
    """x_K, and the state at which every piece begins."""

    def advance(x: Array, piece: tuple[Array, Array]) -> tuple[Array, Array]:
        duration, u = piece
        return _piece(system, steps, x, u, duration), x

    return jax.lax.scan(advance, start, (durations, levels))


@eqx.filter_jit
def roll_out(
    system: AbstractSystem,
    steps: Float[Array, ""],
    start: Float[Array, " d"],
    durations: Float[Array, " K"],
    levels: Float[Array, "K controls"],
) -> tuple[Float[Array, ""], Float[Array, "K d"]]:
    """φ(x_K), and the state at the end of every piece.

    Args:
        system: f and φ.
        steps: M, Runge–Kutta steps per piece. A number like any other: changing it compiles nothing.
        start: x_0.
        durations: Δ_k ≥ 0.
        levels: u_k.
    """
    end, states = _states(system, steps, start, durations, levels)
    return system.terminal(end), jnp.concatenate([states[1:], end[None]])


@eqx.filter_jit
def sweep(
    system: AbstractSystem,
    steps: Float[Array, ""],
    start: Float[Array, " d"],
    durations: Float[Array, " K"],
    levels: Float[Array, "K controls"],
) -> Sweep:
    """Forward for the cost, backward for its exact derivatives. Arguments as in `roll_out`."""
    end, states = _states(system, steps, start, durations, levels)
    _, switching, by_level, by_duration = _backward(system, steps, end, states, durations, levels)
    last = _switching(system, end, levels[-1], jax.grad(system.terminal)(end))
    return Sweep(system.terminal(end), by_level, by_duration, jnp.concatenate([switching, last[None]]))


@eqx.filter_jit
def trace(
    system: AbstractSystem,
    steps: Float[Array, ""],
    start: Float[Array, " d"],
    durations: Float[Array, " K"],
    levels: Float[Array, "K controls"],
) -> tuple[Float[Array, "knots d"], Float[Array, "knots d"]]:
    """State and costate at both ends of every piece, in order. Arguments as in `roll_out`."""
    end, states = _states(system, steps, start, durations, levels)
    costates, *_ = _backward(system, steps, end, states, durations, levels)
    last = jax.grad(system.terminal)(end)
    return jnp.concatenate([states, end[None]]), jnp.concatenate([costates, last[None]])


def _backward(
    system: AbstractSystem, steps: Array, end: Array, states: Array, durations: Array, levels: Array
) -> tuple[Float[Array, "K d"], Float[Array, "K controls"], Float[Array, "K controls"], Float[Array, " K"]]:
    """Costate and S at the beginning of every piece, and the derivatives by its level and its duration."""

    def retreat(p: Array, piece: tuple[Array, Array, Array]) -> tuple[Array, tuple[Array, Array, Array, Array]]:
        x, duration, u = piece
        _, pull = jax.vjp(lambda *inputs: _piece(system, steps, *inputs), x, u, duration)
        before, by_level, by_duration = pull(p)
        return before, (before, _switching(system, x, u, before), by_level, by_duration)

    costate = jax.grad(system.terminal)(end)
    return jax.lax.scan(retreat, costate, (states, durations, levels), reverse=True)[1]


def _switching(system: AbstractSystem, x: Array, u: Array, p: Array) -> Float[Array, " controls"]:
    return jax.vjp(lambda v: system.field(x, v), u)[1](p)[0]


def choose_steps(
    system: AbstractSystem,
    start: Float[Array, " d"],
    durations: Float[Array, " K"],
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
        count = jnp.asarray(float(steps))
        here = np.array([float(roll_out(system, count, start, durations, jnp.asarray(u))[0]) for u in controls])
        if np.isfinite(here).all() and (np.abs(here - last) <= agreement * np.maximum(np.abs(here), 1e-6 * unit)).all():
            return steps
        steps, last = 2 * steps, here
    raise InputError(
        f"the flow needs more than {STEP_LIMIT} explicit steps between s and T: it is stiff, or it leaves every bound. "
        'Use a smaller T − s, features of unit variance, or method="collocation", which has no stability limit.'
    )
