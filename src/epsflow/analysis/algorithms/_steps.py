"""Steps of gradient descent in JAX, for any model: one compiled loop, plain, or with batches, noise and projections."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int, Key

from ..._core import Array, Spelled
from ...problem import AbstractRisk, EmpiricalRisk
from ...schedules import AbstractSchedule, Constant


class StepRule(Spelled, eqx.Module):
    """What is done in a step beside the step: θ ← Π(θ − η[clip(g) + λθ] + noise·ξ), ξ ~ N(0, I).

    Example:
        >>> ef.analysis.StepRule().plain, ef.analysis.StepRule(noise=0.1).random
        (True, True)

    Attributes:
        radius: of the ball ‖θ‖ ≤ radius to which Π projects; infinite for none.
        clip: largest norm of g, the gradient of the data's part of the risk; infinite for none.
        noise: standard deviation per coordinate that a step adds; 0 for none.
        noise_last: whether the noise is added after Π, which then bounds where it is added to.
        batch: points per step; 0 for all.
        cyclic: batches in a fixed order, one permutation cut into n/b pieces; else each drawn without replacement.
    """

    radius: float | Float[Array, ""] = np.inf
    clip: float | Float[Array, ""] = np.inf
    noise: float | Float[Array, ""] = 0.0
    noise_last: bool = eqx.field(static=True, default=False)
    batch: int = eqx.field(static=True, default=0)
    cyclic: bool = eqx.field(static=True, default=False)

    @property
    def plain(self) -> bool:
        """Gradient descent with all points and nothing else."""
        return not (self.batch or self.noise or np.isfinite(self.radius) or np.isfinite(self.clip))

    @property
    def random(self) -> bool:
        """Whether a step draws anything."""
        return bool(self.batch or self.noise)

    def traced(self) -> "StepRule":
        """With arrays, which compile once for all values."""
        radius, clip, noise = (jnp.asarray(value, jnp.float64) for value in (self.radius, self.clip, self.noise))
        return StepRule(radius, clip, noise, self.noise_last, self.batch, self.cyclic)

    def moved(
        self, theta: Array, gradient: Array, l2: Array | float, eta: Array | float, draw: Array
    ) -> Float[Array, "... d"]:
        """The step from θ, of vectors or of rows of them; `draw` is ξ."""
        xp = np if isinstance(theta, np.ndarray) else jnp
        pull = gradient - l2 * theta
        pull = pull * xp.minimum(1.0, self.clip / xp.maximum(_norm(xp, pull), np.finfo(np.float64).tiny))
        theta = theta - eta * (pull + l2 * theta)
        if not self.noise_last:
            theta = theta + self.noise * draw
        theta = theta * xp.minimum(1.0, self.radius / xp.maximum(_norm(xp, theta), np.finfo(np.float64).tiny))
        return theta + self.noise * draw if self.noise_last else theta


class PerStep(AbstractSchedule):
    """A weight for each step of size η: ε_k on [ηk, η(k+1))."""

    values: Float[Array, "steps *m"]
    step_size: Float[Array, ""]

    @property
    def start(self) -> Float[Array, ""]:
        """−∞: all weights are given."""
        return np.asarray(-np.inf)

    @property
    def end(self) -> Float[Array, ""]:
        """+∞."""
        return np.asarray(np.inf)

    @property
    def jump_ts(self) -> Float[Array, " jumps"]:
        """Between all steps."""
        return self.step_size * jnp.arange(1, len(self.values))

    def inner(self, t: Float[Array, "*shape"]) -> Float[Array, "*values"]:
        """The weight of the step that t lies in."""
        return self.values[jnp.clip(jnp.floor(t / self.step_size).astype(int), 0, len(self.values) - 1)]


@eqx.filter_jit
def descend(
    risk: AbstractRisk,
    schedule: AbstractSchedule,
    theta0: Float[Array, "*r d"],
    first: Array,
    marks: Int[Array, " k"],
    eta: Array,
    keys: Key[Array, " r"],
    batch: int,
    rule: StepRule | None = None,
) -> Float[Array, "r k d"]:
    """Gradient descent from step `first` on, at each of the steps `marks`, for every key; one start or one each."""

    def run(key: Array, start: Array) -> Array:
        order = jax.random.permutation(key, _rows(risk)) if rule is not None and rule.cyclic else None

        def step(k: Array, theta: Array) -> Array:
            eps, own = schedule(eta * (k + 0.5)), jax.random.fold_in(key, k)
            if batch:
                gradient = _batch_gradient(risk, theta, eps, _drawn(risk, own, k, batch, order))
            else:
                gradient = risk.gradient(theta, eps)
            if rule is None:
                return theta - eta * gradient
            draw = jax.random.normal(jax.random.fold_in(own, 1), theta.shape, theta.dtype)
            return rule.moved(theta, gradient, _penalty(risk), eta, draw)

        def segment(carry: tuple[Array, Array], mark: Array) -> tuple[tuple[Array, Array], Array]:
            theta = jax.lax.fori_loop(carry[0], mark, step, carry[1])
            return (mark, theta), theta

        return jax.lax.scan(segment, (first, start), marks)[1]

    return jax.vmap(run, in_axes=(0, None if theta0.ndim == 1 else 0))(keys, theta0)


def no_keys() -> Key[Array, " r"]:
    """One key, for a run that draws nothing."""
    return jax.random.split(jax.random.key(0), 1)


def compiled_walk(
    risk: AbstractRisk,
    theta0: Float[np.ndarray, "*r d"],
    weights: Float[np.ndarray, "steps *m"],
    first: int,
    marks: Int[np.ndarray, " k"],
    eta: float,
    rule: StepRule,
    keys: Key[Array, " r"],
) -> Float[np.ndarray, "r k d"]:
    """The steps from `first` on with the weight of each: few runs of one weight compile once for all lengths."""
    extra = () if rule.plain else (rule.traced(),)
    theta, found = jnp.broadcast_to(theta0, (len(keys), np.shape(theta0)[-1])), []
    edges = changes(weights)
    if len(edges) > 8:
        schedule = PerStep(jnp.asarray(weights), jnp.asarray(eta))
        arguments = schedule, theta, jnp.asarray(first), jnp.asarray(marks), jnp.asarray(eta), keys, rule.batch
        return np.asarray(descend(risk, *arguments, *extra))
    for mark in marks:
        for stop in [*edges[(edges > first) & (edges < mark)], mark]:
            if stop > first:
                schedule, ends = Constant(weights[first]), jnp.asarray([stop])
                arguments = schedule, theta, jnp.asarray(first), ends, jnp.asarray(eta), keys, rule.batch
                theta, first = descend(risk, *arguments, *extra)[:, 0], int(stop)
        found.append(np.asarray(theta))
    return np.stack(found, axis=1)


def changes(weights: Float[np.ndarray, "steps *m"]) -> Int[np.ndarray, " changes"]:
    """The steps whose weight differs from that of the step before."""
    rows = weights if weights.ndim == 2 else weights[:, None]
    return np.flatnonzero((rows[1:] != rows[:-1]).any(axis=1)) + 1


def _norm(xp: Any, rows: Array) -> Float[Array, "... 1"]:
    return xp.sqrt((rows * rows).sum(axis=-1, keepdims=True))


def _rows(risk: Any) -> int:
    return risk.x.shape[0]


def _penalty(risk: Any) -> Float[Array, ""]:
    return risk.l2


def _drawn(risk: Any, key: Array, k: Array, batch: int, order: Array | None) -> Int[Array, " b"]:
    """The points of the batch of step k."""
    if order is None:
        return jax.random.choice(key, _rows(risk), (batch,), replace=False)
    return jax.lax.dynamic_slice_in_dim(order, (k % (_rows(risk) // batch)) * batch, batch)


def _batch_gradient(risk: Any, theta: Array, eps: Array, drawn: Int[Array, " b"]) -> Float[Array, " d"]:
    """(n/b) Σ_{i∈B} w_i∇ℓ_i + λθ, w_i = c or cε_j."""
    rows: EmpiricalRisk = risk
    weights = rows.weights(eps)[drawn] * (_rows(rows) / drawn.size)

    def loss(t: Array) -> Array:
        outputs = jax.vmap(rows.model, in_axes=(None, 0))(t, rows.x[drawn])
        return weights @ jax.vmap(rows.loss)(outputs, rows.y[drawn])

    return jax.grad(loss)(theta) + rows.l2 * theta
