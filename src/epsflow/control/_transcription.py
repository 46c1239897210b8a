"""Direct transcription of any JAX model: multiple shooting and collocation.

The vector field is the one that diffrax integrates: its jaxpr is translated to CasADi symbols, with the numbers of the
risk (data, or sufficient statistics) as parameters. A program depends on shapes alone and is built once for each.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .._core import InputError
from ..problem import AbstractRisk
from ._casadi import ca
from ._cost import AbstractCost, Distance
from ._program import Program, build_program, differentiable
from ._translate import max_disagreement, to_casadi

AGREEMENT = 1e-12
"""Largest |JAX − CasADi| relative to 1 + |JAX| with which a translation is used: some thousand roundings."""

DEGREE = 3
"""Radau IIA nodes per interval: order 5, L-stable."""

MAX_ITERATIONS = 500


class Structure(NamedTuple):
    """What a program depends on besides numbers. Hashable: it is the key under which programs are kept.

    Attributes:
        shapes: of the arrays that become parameters.
        treedef: how they make up the risk and the cost, together with `rest`.
        rest: their remaining leaves (indices) with their own treedef; they are part of the program.
        dim: d.
        controls: 1, or one per deleted point.
    """

    shapes: tuple[tuple[int, ...], ...]
    treedef: Any
    rest: tuple[Any, tuple[tuple[str, tuple[int, ...], bytes], ...]]
    dim: int
    controls: int

    def parts(self, leaves: tuple[Any, ...]) -> tuple[AbstractRisk, AbstractCost]:
        """Put the risk and the cost together again, around given arrays."""
        treedef, fixed = self.rest
        arrays = [jnp.asarray(np.frombuffer(raw, dtype).reshape(shape)) for dtype, shape, raw in fixed]
        return eqx.combine(jax.tree.unflatten(self.treedef, leaves), jax.tree.unflatten(treedef, arrays))


class Transcribed(NamedTuple):
    """A program and the map that finds its feasible points.

    Attributes:
        program: the nonlinear program.
        roll_out: CasADi function (state, controls of all intervals, parameters…) ↦ variables of all intervals.
    """

    program: Program
    roll_out: Any


def take_apart(
    risk: AbstractRisk, shared: bool, cost: AbstractCost | None = None
) -> tuple[Structure, list[np.ndarray]]:
    """A risk and the cost of θ(T) (default: the distance) as their structure and their numbers."""
    numbers, rest = eqx.partition((risk, cost or Distance()), eqx.is_inexact_array)
    leaves, treedef = jax.tree.flatten(numbers)
    fixed_leaves, fixed_treedef = jax.tree.flatten(rest)
    fixed = tuple((str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()) for leaf in fixed_leaves)
    shapes = tuple(leaf.shape for leaf in leaves)
    structure = Structure(shapes, treedef, (fixed_treedef, fixed), risk.dim, 1 if shared else risk.num_deleted)
    return structure, [np.asarray(leaf) for leaf in leaves]


@lru_cache(maxsize=32)
def translated_field(structure: Structure) -> Any:
    """The CasADi function (θ, ε, numbers…) ↦ −∇R_ε(θ), checked against JAX at random points.

    Raises:
        UntranslatableError: a primitive of the model has no CasADi counterpart.
        InputError: the translation disagrees with JAX by more than 1e-12.
    """

    def field(theta: Any, eps: Any, *leaves: Any) -> Any:
        return -structure.parts(leaves)[0].gradient(theta, eps[0] if structure.controls == 1 else eps)

    examples = [jnp.zeros(shape) for shape in ((structure.dim,), (structure.controls,), *structure.shapes)]
    return _translate(field, examples, "field")


@lru_cache(maxsize=32)
def translated_cost(structure: Structure) -> Any:
    """The CasADi function (θ, target, h, numbers…) ↦ the cost of ending in θ, checked against JAX in the same way.

    Raises:
        UntranslatableError, InputError: as `translated_field`.
    """

    def cost(theta: Any, target: Any, h: Any, *leaves: Any) -> Any:
        risk, chosen = structure.parts(leaves)
        return chosen.value(risk, theta, target)

    return _translate(cost, [jnp.zeros(shape) for shape in ((structure.dim,),) * 2 + ((),) + structure.shapes], "cost")


def _translate(function: Any, examples: list[Any], name: str) -> Any:
    translated = to_casadi(function, *examples, name=name)
    worst = max_disagreement(jax.jit(function), translated, examples, seed=0)
    if not worst <= AGREEMENT:
        raise InputError(
            f"the CasADi translation of this model differs from JAX by {worst:.1e} (relative; the limit is "
            f"{AGREEMENT:g}), so the transcription would solve another problem. Kinks or poles near the tested random "
            "points are the usual cause; smooth the model there."
        )
    return translated


@lru_cache(maxsize=32)
def shooting_program(structure: Structure, intervals: int, substeps: int) -> Transcribed:
    """Multiple shooting: the state at the end of every interval, tied by classical Runge–Kutta steps."""
    field, (theta, eps, h, numbers) = translated_field(structure), _symbols(structure)
    state = theta
    for _ in range(substeps):
        k1 = field(state, eps, *numbers)
        k2 = field(state + 0.5 * h * k1, eps, *numbers)
        k3 = field(state + 0.5 * h * k2, eps, *numbers)
        k4 = field(state + h * k3, eps, *numbers)
        state = state + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
    step = ca.Function("step", [theta, eps, h, *numbers], [state, ca.vertcat(eps, state)])
    end = ca.SX.sym("end", structure.dim)
    residual = end - step(theta, eps, h, *numbers)[0]
    interval = differentiable("interval", [theta, ca.vertcat(eps, end), h, *numbers], [residual])
    program = build_program(
        interval, intervals, structure.controls, structure.dim, MAX_ITERATIONS, translated_cost(structure)
    )
    return Transcribed(program, step.mapaccum("roll_out", intervals))


@lru_cache(maxsize=32)
def collocation_program(structure: Structure, intervals: int) -> Transcribed:
    """Radau IIA collocation: states at three nodes of every interval, the last of them its end."""
    field, (theta, eps, h, numbers) = translated_field(structure), _symbols(structure)
    derivative, _, _ = ca.collocation_coeff(ca.collocation_points(DEGREE, "radau"))
    inner = ca.SX.sym("inner", structure.dim * DEGREE)
    nodes = ca.reshape(inner, structure.dim, DEGREE)
    slopes = ca.horzcat(*[field(nodes[:, i], eps, *numbers) for i in range(DEGREE)])
    residual = ca.vec(ca.horzcat(theta, nodes) @ derivative - h * slopes)
    interval = differentiable("interval", [theta, ca.vertcat(eps, inner), h, *numbers], [residual])
    program = build_program(
        interval, intervals, structure.controls, structure.dim, MAX_ITERATIONS, translated_cost(structure)
    )
    implicit = ca.Function("implicit", [inner, theta, eps, h, *numbers], [residual])
    newton = ca.rootfinder("newton", "newton", implicit, {"error_on_fail": False})
    state, value, length = ca.MX.sym("theta", structure.dim), ca.MX.sym("eps", structure.controls), ca.MX.sym("h")
    symbols = [ca.MX.sym(f"p{i}", symbol.size1()) for i, symbol in enumerate(numbers)]
    found = newton(ca.repmat(state, DEGREE), state, value, length, *symbols)
    step = ca.Function("step", [state, value, length, *symbols], [found[-structure.dim :], ca.vertcat(value, found)])
    return Transcribed(program, step.mapaccum("roll_out", intervals))


def feasible_point(
    transcribed: Transcribed,
    theta: Float[np.ndarray, " d"],
    values: Float[np.ndarray, "N controls"],
    numbers: list[np.ndarray],
) -> Float[np.ndarray, "N variables"]:
    """The variables that belong to given controls; `numbers`: the step h, then those of the risk."""
    repeated = [np.tile(np.ravel(number)[:, None], (1, len(values))) for number in numbers]
    return np.asarray(transcribed.roll_out(theta, values.T, *repeated)[1]).T


def _symbols(structure: Structure) -> tuple[Any, Any, Any, list[Any]]:
    numbers = [ca.SX.sym(f"p{i}", int(np.prod(shape))) for i, shape in enumerate(structure.shapes)]
    return ca.SX.sym("theta", structure.dim), ca.SX.sym("eps", structure.controls), ca.SX.sym("h"), numbers
