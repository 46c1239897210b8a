"""Direct transcription of any system: multiple shooting and collocation.

The vector field is the one that diffrax integrates: its jaxpr, and that of the terminal cost, are translated to CasADi
symbols, with the numbers of the system (data, or sufficient statistics) as parameters. A program depends on shapes
alone and is built once for each.
"""

from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..._core import InputError
from ..systems._system import AbstractSystem
from ..terms._deadline import Deadline
from ..terms._window import Effort, MeshWindow
from ._casadi import ca
from ._program import Program, Transcription, build_program, differentiable
from ._translate import max_disagreement, to_casadi

AGREEMENT = 1e-12
"""Largest |JAX − CasADi| relative to 1 + |JAX| with which a translation is used: some thousand roundings."""

DEGREE = 3
"""Radau IIA nodes per interval: order 5, L-stable."""


class Structure(NamedTuple):
    """What a program depends on besides numbers. Hashable: it is the key under which programs are kept.

    Attributes:
        shapes: of the arrays that become parameters.
        treedef: how they make up the system, together with `rest`.
        rest: the system's remaining leaves (indices) with their own treedef; they are part of the program.
        dim: length of a state, d.
        controls: length of a control: 1, or one per deleted point.
    """

    shapes: tuple[tuple[int, ...], ...]
    treedef: Any
    rest: tuple[Any, tuple[tuple[str, tuple[int, ...], bytes], ...]]
    dim: int
    controls: int

    def system(self, leaves: tuple[Any, ...]) -> AbstractSystem:
        """Put the system together again, around given arrays."""
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

    def feasible(
        self, theta: Float[np.ndarray, " d"], values: Float[np.ndarray, "N controls"], numbers: list[np.ndarray]
    ) -> Float[np.ndarray, "N variables"]:
        """The variables that belong to given controls; `numbers`: the step h, then those of the system."""
        repeated = [np.tile(np.ravel(number)[:, None], (1, len(values))) for number in numbers]
        return np.asarray(self.roll_out(theta, values.T, *repeated)[1]).T


def take_apart(system: AbstractSystem) -> tuple[Structure, list[np.ndarray]]:
    """A system as its structure and its numbers."""
    numbers, rest = eqx.partition(system, eqx.is_inexact_array)
    leaves, treedef = jax.tree.flatten(numbers)
    fixed_leaves, fixed_treedef = jax.tree.flatten(rest)
    fixed = tuple((str(leaf.dtype), leaf.shape, np.asarray(leaf).tobytes()) for leaf in fixed_leaves)
    shapes = tuple(leaf.shape for leaf in leaves)
    structure = Structure(shapes, treedef, (fixed_treedef, fixed), system.dim, system.controls)
    return structure, [np.asarray(leaf) for leaf in leaves]


@lru_cache(maxsize=32)
def translated_field(structure: Structure) -> Any:
    """The CasADi function (x, u, numbers…) ↦ f(x, u), checked against JAX at random points.

    Raises:
        UntranslatableError: a primitive of the model has no CasADi counterpart.
        InputError: the translation disagrees with JAX by more than 1e-12.
    """

    def field(x: Any, u: Any, *leaves: Any) -> Any:
        return structure.system(leaves).field(x, u)

    return _translated(field, "field", [(structure.dim,), (structure.controls,), *structure.shapes])


@lru_cache(maxsize=32)
def translated_terminal(structure: Structure) -> Any:
    """The CasADi function (x, h, numbers…) ↦ φ(x), checked likewise; h, the interval's length, plays no part."""

    def terminal(x: Any, h: Any, *leaves: Any) -> Any:
        del h
        return structure.system(leaves).terminal(x)

    return _translated(terminal, "terminal", [(structure.dim,), (), *structure.shapes])


def _translated(function: Callable[..., Any], name: str, shapes: list[tuple[int, ...]]) -> Any:
    examples = [jnp.zeros(shape) for shape in shapes]
    translation = to_casadi(function, *examples, name=name)
    worst = max_disagreement(jax.jit(function), translation, examples, seed=0)
    if not worst <= AGREEMENT:
        raise InputError(
            f"the CasADi translation of this model differs from JAX by {worst:.1e} (relative; the limit is "
            f"{AGREEMENT:g}), so the transcription would solve another problem. Kinks or poles near the tested random "
            'points are the usual cause; smooth the model there, or use method="adjoint", which translates nothing.'
        )
    return translation


@lru_cache(maxsize=32)
def shooting_program(structure: Structure, intervals: int, substeps: int, effort: Effort = Effort.FREE) -> Transcribed:
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
    return _chained(structure, interval, step, intervals, effort)


@lru_cache(maxsize=32)
def collocation_program(structure: Structure, intervals: int, effort: Effort = Effort.FREE) -> Transcribed:
    """Radau IIA collocation: states at three nodes of every interval, the last of them its end."""
    field, (theta, eps, h, numbers) = translated_field(structure), _symbols(structure)
    derivative, _, _ = ca.collocation_coeff(ca.collocation_points(DEGREE, "radau"))
    inner = ca.SX.sym("inner", structure.dim * DEGREE)
    nodes = ca.reshape(inner, structure.dim, DEGREE)
    slopes = ca.horzcat(*[field(nodes[:, i], eps, *numbers) for i in range(DEGREE)])
    residual = ca.vec(ca.horzcat(theta, nodes) @ derivative - h * slopes)
    interval = differentiable("interval", [theta, ca.vertcat(eps, inner), h, *numbers], [residual])
    implicit = ca.Function("implicit", [inner, theta, eps, h, *numbers], [residual])
    newton = ca.rootfinder("newton", "newton", implicit, {"error_on_fail": False})
    state, value, length = ca.MX.sym("theta", structure.dim), ca.MX.sym("eps", structure.controls), ca.MX.sym("h")
    symbols = [ca.MX.sym(f"p{i}", symbol.size1()) for i, symbol in enumerate(numbers)]
    found = newton(ca.repmat(state, DEGREE), state, value, length, *symbols)
    step = ca.Function("step", [state, value, length, *symbols], [found[-structure.dim :], ca.vertcat(value, found)])
    return _chained(structure, interval, step, intervals, effort)


def _symbols(structure: Structure) -> tuple[Any, Any, Any, list[Any]]:
    numbers = [ca.SX.sym(f"p{i}", int(np.prod(shape))) for i, shape in enumerate(structure.shapes)]
    return ca.SX.sym("theta", structure.dim), ca.SX.sym("eps", structure.controls), ca.SX.sym("h"), numbers


def _chained(structure: Structure, interval: Any, step: Any, intervals: int, effort: Effort) -> Transcribed:
    """The program of so many intervals, each with one step of `step`, which knows the feasible points."""
    theta, _, h, numbers = _symbols(structure)
    terminal = differentiable("terminal", [theta, h, *numbers], [translated_terminal(structure)(theta, h, *numbers)])
    program = build_program(interval, terminal, intervals, structure.controls, structure.dim, effort)
    return Transcribed(program, step.mapaccum("roll_out", intervals))


def transcribe(
    system: AbstractSystem,
    start: Float[np.ndarray, " d"],
    window: MeshWindow,
    deadline: Deadline,
    *,
    intervals: int,
    substeps: int | None,
) -> Transcription:
    """Multiple shooting or collocation of a system: its program, built, or found where it was built before.

    Args:
        system: f and φ.
        start: x(s).
        window: what the controls are chosen on.
        deadline: when to stop.
        intervals: N.
        substeps: Runge–Kutta steps per interval of multiple shooting; None for collocation.

    Raises:
        UntranslatableError, InputError: see `translated_field` and `build_program`.
    """
    structure, numbers = take_apart(system)
    if substeps is None:
        transcribed = collocation_program(structure, intervals, window.effort)
    else:
        transcribed = shooting_program(structure, intervals, substeps, window.effort)
    numbers = [np.array([window.length / intervals / (substeps or 1)]), *numbers]
    return Transcription(
        window=window,
        deadline=deadline,
        program=transcribed.program,
        parameters=[start, *numbers],
        feasible=lambda values: transcribed.feasible(start, values, numbers),
    )
