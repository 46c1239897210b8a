"""What a flow returns."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import RESULTS, Array, Axed, InputError, Labelled, Tabular
from ._exact import ExactFlow


class Trajectory(Tabular, Labelled, eqx.Module):
    """θ(t) at the requested times; NumPy arrays for linear regression by `exact` or `collocation`, else JAX's.

    Example:
        >>> problem = ef.linear_regression(ef.load_dataset("diabetes"), [17], reduction="mean")
        >>> ef.gradient_flow(problem, ef.Step(2.0), np.zeros(10), ts=np.array([20.0])).thetas.shape
        (1, 10)

    Attributes:
        ts: times, shape (k,).
        thetas: θ(t), shape (k, d).
        eps: ε(t), shape (k,) or (k, m).
        error: estimate of the largest ‖·‖∞ error in `thetas`, in units of θ: a rounding bound for `exact`, a
            bound on truncation and rounding for `collocation`, the change under a ten times looser tolerance for
            `diffrax`; NaN where none was asked for.
        result: how the integration ended.
        method: "exact", "collocation" or "diffrax".
        stats: the integrator's own figures (steps, solver, tolerances).
        interpolant: θ at any time, if the flow was asked for `dense=True`, or is exact.
    """

    ts: Float[Array, " k"]
    thetas: Float[Array, "k d"]
    eps: Float[Array, "k *m"]
    error: Float[Array, ""]
    result: RESULTS
    method: str = eqx.field(static=True)
    stats: dict[str, Any]
    interpolant: Callable[[Array], Array] | None

    def _facts(self) -> dict[str, object]:
        times = np.asarray(self.ts)
        span = f"{times[0]:.4g} to {times[-1]:.4g}" if times.size else "none"
        facts = {"times": f"{times.size} ({span})", "thetas": self.thetas, "error": self.error}
        return {**facts, "method": self.method, "result": self.result}

    def _rows(self) -> list[dict[str, Any]]:
        """Time, weight and ‖θ‖; several weights have one column each."""
        eps, norms = np.asarray(self.eps), np.linalg.norm(np.asarray(self.thetas), axis=-1)
        weights = eps.reshape(len(norms), -1)
        names = ["ε"] if weights.shape[1] == 1 else [f"ε_{k}" for k in range(weights.shape[1])]
        rows = zip(np.asarray(self.ts), weights, norms, strict=True)
        return [{"t": t, **dict(zip(names, each, strict=True)), "‖θ‖": norm} for t, each, norm in rows]

    def _arrays(self) -> dict[str, Axed]:
        return {"t": ("t", self.ts), "theta": ("t parameter", self.thetas), "eps": ("t deleted?", self.eps)}

    def __call__(self, t: Float[Array, "*shape"] | float) -> Float[Array, "*shape d"]:
        """θ at any times within the flow.

        Raises:
            InputError: if the flow kept only the times in `ts`.
        """
        if self.interpolant is None:
            raise InputError("this trajectory holds only the times in `ts`; call gradient_flow with dense=True.")
        if isinstance(self.interpolant, ExactFlow):
            return self.interpolant(np.asarray(t, dtype=np.float64))
        return jnp.vectorize(self.interpolant, signature="()->(d)")(jnp.asarray(t, dtype=jnp.float64))

    @property
    def end(self) -> Float[Array, " d"]:
        """θ at the last time."""
        return self.thetas[-1]
