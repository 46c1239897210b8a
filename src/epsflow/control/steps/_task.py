"""The control problem in steps of gradient descent, in the eigenbasis of H_{-D}; with momentum, too.

With w_kj = u_kj e_kj, e_k = x_jᵀδ_k − r_j, one step of size η with momentum β (Polyak's heavy ball) is

    v_{k+1} = βv_k − η(Λδ_k − f + Σ_j w_kj x_j),    δ_{k+1} = δ_k + v_{k+1},

linear in the state (δ, v) and in w, as the flow is: what holds for the flow by duality (`bounds._dual`) holds here,
with sums in place of integrals. β = 0 is gradient descent.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..._core import InputError
from ..linear._task import LinearTask

UNIT = np.finfo(np.float64).eps


@dataclass(frozen=True, eq=False)
class StepTask:
    """The control problem of linear regression in steps.

    Attributes:
        linear: the problem; s and T of its window count steps, and `start` is δ after s of them.
        size: η.
        momentum: β.
        velocity: v after s steps, shape (d,).
    """

    linear: LinearTask
    size: float
    momentum: float
    velocity: Float[np.ndarray, " d"]

    @property
    def count(self) -> int:
        """N = T − s, the number of steps with a weight to choose."""
        return round(self.linear.length)

    @property
    def points(self) -> int:
        """Number of deleted points m."""
        return self.linear.points

    @property
    def bounds(self) -> tuple[float, float]:
        """Least and largest ε."""
        return self.linear.bounds

    def first(self, count: int) -> "StepTask":
        """The same problem with fewer steps."""
        return replace(self, linear=self.linear.until(self.linear.s + count))

    @property
    def homogeneous(self) -> "StepTask":
        """What differences of its iterates obey: from rest at zero, with nothing but forces to move them."""
        linear, still = self.linear, np.zeros_like(self.velocity)
        pencil = replace(linear.pencil, residuals=np.zeros_like(linear.residuals), drift=still)
        return replace(self, linear=replace(linear, pencil=pencil, start=still), velocity=still)

    @property
    def radius(self) -> float:
        """A size of δ: of where it begins, and of where the deleted points pull it."""
        sizes = np.linalg.norm(self.linear.rows, axis=1)
        pulls = np.abs(self.linear.residuals) / np.where(sizes > 0.0, sizes, 1.0)
        return float(np.linalg.norm(self.linear.start) + pulls.max())

    def rounding(self, largest: float) -> float:
        """Of δ_N, to first order: eigenvalues carry an error of d·u·μ_max, which acts in every step."""
        high = max(map(abs, (1.0, *self.bounds)))
        rate = float(np.abs(self.linear.rates).max() + high * np.sum(self.linear.rows**2))
        amplified = self.size * rate * self.linear.T / (1.0 - self.momentum)
        return len(self.linear.rates) * UNIT * (1.0 + amplified) * largest


class Run(NamedTuple):
    """The iterates under given forces or weights.

    Attributes:
        deltas: δ_0 to δ_N, shape (N+1, d).
        residuals: e_k of steps 0 to N − 1, shape (N, m).
        velocity: v_N, shape (d,).
    """

    deltas: Float[np.ndarray, "iterates d"]
    residuals: Float[np.ndarray, "N m"]
    velocity: Float[np.ndarray, " d"]


def run(task: StepTask, weights: Float[np.ndarray, "N m"], offsets: Float[np.ndarray, "N m"] | None = None) -> Run:
    """δ under w_kj = weights_kj e_kj + offsets_kj."""
    linear, eta, beta = task.linear, task.size, task.momentum
    rows, r, f = linear.rows, linear.residuals, eta * linear.drift
    decay, columns = eta * linear.rates, eta * linear.rows
    deltas, residuals = np.empty((len(weights) + 1, len(decay))), np.empty((len(weights), len(r)))
    delta, velocity = linear.start, task.velocity
    deltas[0] = delta
    for k, weight in enumerate(weights):
        e = rows @ delta - r
        force = weight * e if offsets is None else weight * e + offsets[k]
        velocity = f - decay * delta - force @ columns + (beta * velocity if beta else 0.0)
        delta = delta + velocity
        deltas[k + 1], residuals[k] = delta, e
    return Run(deltas, residuals, velocity)


def ends(task: StepTask, weights: Float[np.ndarray, "k N m"]) -> Float[np.ndarray, "k d"]:
    """δ_N under each of k rows of weights."""
    linear, eta, beta = task.linear, task.size, task.momentum
    deltas, velocities = (np.tile(part, (len(weights), 1)) for part in (linear.start, task.velocity))
    for k in range(weights.shape[1]):
        forces = weights[:, k] * linear.residual(deltas)
        velocities = beta * velocities - eta * (linear.rates * deltas - linear.drift + forces @ linear.rows)
        deltas = deltas + velocities
    return deltas


def pulls(
    task: StepTask, end: Float[np.ndarray, "*k d"], alpha: Callable[[int, np.ndarray], np.ndarray]
) -> Iterator[tuple[int, Float[np.ndarray, "*k m"]]]:
    """g_kj = −∂p_Nᵀδ_N/∂w_kj, by which a force matters, from the last step to the first, for one p_N or several.

    Backward from p_N and v's costate zero: y = p + q, g_j = η x_jᵀy, p ← p − ηΛy − Σ_j α_j g_j x_j, q ← βy.

    Args:
        task: the problem.
        end: p_N.
        alpha: of a step and its g: how much of e_kj the force w_kj is; asked when g has been used.
    """
    linear, beta = task.linear, task.momentum
    decay, columns = task.size * linear.rates, task.size * linear.rows.T
    p, q = end, np.zeros_like(end)
    for k in range(task.count - 1, -1, -1):
        y = p + q if beta else p
        g = y @ columns
        yield k, g
        p = p - decay * y - (alpha(k, g) * g) @ linear.rows
        q = beta * y


def trained(
    linear: LinearTask, size: float, momentum: float, steps: int
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, " d"]]:
    """δ and v after training with ε = 1 from δ(0) at rest."""
    task = StepTask(replace(linear, start=linear.origin), size, momentum, np.zeros_like(linear.origin))
    path = run(task, np.ones((steps, linear.points)))
    return path.deltas[-1], path.velocity


def check_step(linear: LinearTask, size: float, momentum: float) -> None:
    """Refuse steps that are not stable: η > 2(1 + β)/λ_max, with the largest eigenvalue over all admissible ε.

    Raises:
        InputError: naming the limit.
    """
    level = max(1.0, linear.bounds[1])
    largest = float(linear.spectrum(level).rates[-1])
    limit = 2.0 * (1.0 + momentum) / largest if largest > 0.0 else np.inf
    if size > limit * (1.0 + 1e-12):
        name, words = ("2(1 + β)/λ_max", f" with momentum {momentum:g}") if momentum else ("2/λ_max", "")
        raise InputError(
            f"step_size is {size:.6g}; gradient descent{words} is stable up to {name} = {limit:.6g}, where λ_max = "
            f"{largest:.6g} is the largest eigenvalue of H at ε = {level:g}. Take smaller steps."
        )
