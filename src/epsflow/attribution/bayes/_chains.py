"""Markov chains by blackjax's samplers: one compiled function for each sampler and shape of the problem."""

from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Key

from ..._core import Array, InputError, install_command
from ._posterior import Posterior, Whitened

SAMPLERS = ("nuts", "mala", "sgld", "sghmc")

TARGETS = {"nuts": 0.8, "mala": 0.574}
"""Acceptance rates at which adaptation of the step aims."""


class Plan(NamedTuple):
    """How chains are run.

    Attributes:
        sampler: one of `SAMPLERS`.
        warmup: steps before the first draw, which are thrown away.
        draws: per chain.
        step: ε of SGLD, h of SGHMC; of the others the first guess in whitened coordinates.
        batch: points per gradient of SGLD and SGHMC; None for all.
        leaps: steps of SGHMC between draws.
        friction: of SGHMC.
    """

    sampler: str
    warmup: int
    draws: int
    step: float
    batch: int | None
    leaps: int
    friction: float


class Chains(NamedTuple):
    """What was drawn.

    Attributes:
        draws: w, shape (chains, draws, d).
        acceptance: mean of each chain; NaN for samplers that accept everything. Shape (chains,).
        divergences: of each chain, for NUTS. Shape (chains,).
        gradients: gradients of log p after the warm-up, of all chains together.
        step: as adapted, of each chain; shape (chains,).
    """

    draws: Float[np.ndarray, "chains draws d"]
    acceptance: Float[np.ndarray, " chains"]
    divergences: np.ndarray
    gradients: int
    step: Float[np.ndarray, " chains"]


def run_chains(
    posterior: Posterior, basis: Float[np.ndarray, "d d"] | None, plan: Plan, key: Key[Array, ""], chains: int
) -> Chains:
    """Independent chains, each from a draw of the Laplace approximation (from θ where there is no basis)."""
    require_blackjax()
    first, walk = jax.random.split(key)
    start = jax.random.normal(first, (chains, posterior.center.size))
    keys = jax.random.split(walk, chains)
    step, friction = np.asarray(plan.step), np.asarray(plan.friction)  # arrays: another number compiles nothing
    # One chain after the other: side by side, NUTS would wait for its longest trajectory, and products be slower.
    if plan.sampler in TARGETS:
        target, counts = Whitened(posterior, jnp.asarray(basis)), (plan.warmup, plan.draws)
        parts = [_adapted(plan.sampler, target, counts, keys[c], start[c], step) for c in range(chains)]
        draws, acceptance, divergent, work, steps = (
            np.stack([np.asarray(part[k]) for part in parts]) for k in range(5)
        )
        return Chains(draws, acceptance.mean(axis=1), divergent.sum(axis=1), int(work.sum()), steps)
    places = np.repeat(np.asarray(posterior.center)[None], chains, axis=0)
    if basis is not None:
        places = places + np.asarray(start) @ basis.T
    options = plan.sampler, plan.warmup, plan.draws, plan.batch, plan.leaps
    walked = [_stochastic(posterior, options, keys[c], places[c], (step, friction)) for c in range(chains)]
    draws = np.stack([np.asarray(chain) for chain in walked])
    each = plan.leaps if plan.sampler == "sghmc" else 1
    return Chains(
        draws=draws,
        acceptance=np.full(chains, np.nan),
        divergences=np.zeros(chains, int),
        gradients=chains * plan.draws * each,
        step=np.full(chains, plan.step),
    )


def require_blackjax() -> Any:
    """The library of samplers.

    Raises:
        InputError: it is not installed.
    """
    try:
        import blackjax
    except ImportError as error:
        raise InputError(
            f"sampling needs blackjax, which is an extra: {install_command('bayes')}. sampler='exact' needs nothing."
        ) from error
    return blackjax


@eqx.filter_jit
def _adapted(
    sampler: str, target: Whitened, counts: tuple[int, int], key: Array, start: Array, step: Array
) -> tuple[Array, ...]:
    """Draws, acceptance, divergence and gradients of each step after the warm-up, and the step as adapted in it."""
    blackjax = require_blackjax()
    from blackjax.adaptation.step_size import dual_averaging_adaptation

    init, update, final = dual_averaging_adaptation(TARGETS[sampler])
    warmup, draws = counts
    identity = jnp.ones(start.size)

    def advance(key: Array, state: Any, step: Array) -> tuple[Any, Any]:
        if sampler == "nuts":
            return blackjax.nuts.build_kernel()(key, state, target.logdensity, step, identity)
        return blackjax.mala.build_kernel()(key, state, target.logdensity, step)

    def move(carry: tuple[Any, Any], given: tuple[Array, Array]) -> tuple[tuple[Any, Any], tuple[Array, ...]]:
        (state, tuned), (key, time) = carry, given
        step = jnp.where(time < warmup, jnp.exp(tuned.log_step_size), final(tuned))
        state, info = advance(key, state, step)
        rate = jnp.nan_to_num(info.acceptance_rate)
        later = update(tuned, rate)
        tuned = jax.tree.map(lambda new, old: jnp.where(time < warmup, new, old), later, tuned)
        if sampler == "nuts":
            flags = info.is_divergent, info.num_integration_steps
        else:
            flags = jnp.asarray(False), jnp.asarray(1)
        return (state, tuned), (target.place(state.position), rate, *flags)

    state = getattr(blackjax, sampler).init(start, target.logdensity)
    keys = jax.random.split(key, warmup + draws)
    (_, tuned), walked = jax.lax.scan(move, (state, init(step)), (keys, jnp.arange(warmup + draws)))
    return (*(part[warmup:] for part in walked), final(tuned))


@eqx.filter_jit
def _stochastic(
    posterior: Posterior, options: tuple[Any, ...], key: Array, place: Array, scales: tuple[Array, Array]
) -> Array:
    """Draws of a chain that accepts every step, with batches of its own."""
    blackjax = require_blackjax()
    (sampler, warmup, draws, batch, leaps), (step, friction) = options, scales
    n = posterior.risk.x.shape[0]

    def slope(w: Array, rows: Array | None) -> Array:
        return jax.grad(posterior.logdensity)(w) if rows is None else posterior.batch_slope(w, rows)

    def move(w: Array, key: Array) -> tuple[Array, Array]:
        rows, noise = None, key
        if batch is not None:
            noise, chosen = jax.random.split(key)
            rows = jax.random.randint(chosen, (batch,), 0, n)
        if sampler == "sgld":
            # blackjax's step is h in w + h∇log p + √(2h)ξ; ours is ε = 2h.
            w = blackjax.sgld.build_kernel()(noise, w, slope, rows, 0.5 * step)
        else:
            w = blackjax.sghmc.build_kernel(alpha=friction)(noise, w, slope, rows, step, leaps)
        return w, w

    return jax.lax.scan(move, place, jax.random.split(key, warmup + draws))[1][warmup:]
