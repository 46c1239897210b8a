"""A checkpoint of discrete training: one file, replaced whole, that only the same training can take up."""

import hashlib
import json
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from .._core import Array, InputError
from ._minibatches import Source

SAMPLED = 1_000
"""Rows of the data that its fingerprint reads: a memory map may be larger than patience."""

SHOWN = 3
"""Outputs of the first point by which a model is told."""


class Saved(NamedTuple):
    """What a checkpoint holds.

    Attributes:
        theta, state: after `step` steps.
        step: how many.
        thetas: θ after the steps that were asked for until then.
        losses: of all steps until then.
    """

    theta: Float[Array, " d"]
    state: Any
    step: int
    thetas: Float[np.ndarray, "k d"]
    losses: Float[np.ndarray, " step"]


@dataclass(frozen=True)
class SavedTraining:
    """A file, and the training that it belongs to.

    Attributes:
        path: the file.
        training: its arguments, by name.
    """

    path: Path
    training: dict[str, Any]

    def save(self, theta: Array, state: Any, step: int, thetas: np.ndarray, losses: np.ndarray) -> None:
        """Write beside the file, then replace it: a process that dies in between leaves the older one whole.

        Raises:
            InputError: the file cannot be written.
        """
        head = {"training": self.training, "step": step, "shapes": [thetas.shape, losses.shape]}
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}")
        try:
            with beside.open("wb") as file:
                file.write(json.dumps(head).encode() + b"\n")
                eqx.tree_serialise_leaves(file, (theta, state, thetas, losses))
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self.path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise InputError(f"cannot write the checkpoint {self.path}: {error.strerror or error}.") from error

    def load(self, like: Any, marks: Int[np.ndarray, " k"]) -> Saved:
        """What the file holds.

        Args:
            like: θ and the optimiser's state at the start, for their shapes.
            marks: the steps that are asked for now.

        Raises:
            InputError: no checkpoint, or one of another training: both sides are shown.
        """
        try:
            with self.path.open("rb") as file:
                head = json.loads(file.readline())
                self._compare(head["training"])
                empty = tuple(np.empty(shape) for shape in head["shapes"])
                theta, state, thetas, losses = eqx.tree_deserialise_leaves(file, (*like, *empty))
        except InputError:
            raise
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise InputError(
                f"{self.path} is no checkpoint of a training ({error}). Name another file, or remove it."
            ) from error
        step = int(head["step"])
        passed = marks[marks <= step]
        if step > marks[-1] or len(thetas) != len(passed):
            raise InputError(
                f"{self.path} is at step {step} and holds {len(thetas)} of its θs; the steps asked for now, up to "
                f"{marks[-1]}, cannot go on from there. Ask for the same steps, or name another file."
            )
        return Saved(jnp.asarray(theta), state, step, np.asarray(thetas), np.asarray(losses))

    def _compare(self, other: dict[str, Any]) -> None:
        differing = [name for name in self.training if self.training[name] != other.get(name)]
        if differing:
            sides = "; ".join(f"{name}: {other.get(name)} there, {self.training[name]} here" for name in differing)
            raise InputError(f"{self.path} is a checkpoint of another training ({sides}). Name another file.")


def fingerprint(source: Source, start: Array, optimiser: Any) -> dict[str, Any]:
    """What must agree for a training to be taken up.

    An optimiser is told by what it makes of three gradients; a model, and a loss, by the first point.
    """
    problem, data = source.problem, source.problem.data
    sample = np.unique(np.linspace(0, data.n - 1, min(SAMPLED, data.n)).astype(np.int64))
    rows = (part[sample].astype(np.float64) for part in (data.x, data.y))
    return {
        "data": f"{data.n}×{data.x.shape[1]}, {_digest(*rows)}",
        "delete": problem.delete.tolist(),
        **_first_point(source),
        "l2": problem.l2,
        "reduction": problem.reduction,
        "schedule": f"{type(source.schedule).__name__}, {_digest(*jax.tree.leaves(source.schedule))}",
        "theta0": _digest(np.asarray(start)),
        "optimiser": optimiser_digest(optimiser, start),
        "batch": source.batch,
        "key": list(source.words),
        "step_size": source.step_size,
        "dtype": source.precision,
    }


def _first_point(source: Source) -> dict[str, str]:
    """Model and loss by name, the first point's output at θ_j = cos j, and its loss where that is f_j = cos j."""
    problem, data = source.problem, source.problem.data
    theta, x, y = (np.asarray(part, source.dtype) for part in (np.cos(np.arange(problem.dim)), data.x[0], data.y[0]))

    def both(theta: Array, x: Array, y: Array) -> tuple[Array, Array]:
        output = problem.model(theta, x)
        return output, problem.loss(jnp.cos(jnp.arange(output.size)).reshape(output.shape).astype(output.dtype), y)

    # In three digits: another processor, on which training is taken up, rounds differently.
    output, loss = jax.jit(both)(theta, x, y)
    outputs = ", ".join(f"{value:.3g}" for value in np.ravel(output)[:SHOWN])
    return {
        "model": f"{type(problem.model).__name__}, {problem.dim} parameters, f = {outputs}",
        "loss": f"{type(problem.loss).__name__}, ℓ = {float(loss):.3g}",
    }


def optimiser_digest(optimiser: Any, start: Array) -> str:
    """What an optimiser is told by: what it makes of three gradients, from a θ of this shape and type.

    Example:
        >>> import optax
        >>> half, one = (ef.flow.optimiser_digest(optax.sgd(rate), np.zeros(2)) for rate in (0.5, 1.0))
        >>> half == one
        False
    """
    return _digest(*jax.tree.leaves(_probe(optimiser, start)))


def _probe(optimiser: Any, start: Array) -> Any:
    """What three updates of an optimiser move, for gradients that are not alike."""
    state, moves = optimiser.init(start), []
    for k in range(3):
        slope = jnp.asarray(np.cos((k + 1.0) * np.arange(start.size)), start.dtype)
        move, state = optimiser.update(slope, state, start)
        moves.append(move)
    return moves


def _digest(*arrays: Any) -> str:
    total = hashlib.sha256()
    for array in arrays:
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()[:16]
