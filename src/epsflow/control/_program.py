"""A nonlinear program over intervals, and IPOPT.

Every transcription has the same form: interval k carries its control and its states, and is tied to the state that the
interval before it ends with. Programs depend on shapes alone; numbers are parameters, so a program is built once.
"""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .._core import InputError
from ._casadi import ca

EXPAND_LIMIT = 200_000
"""Scalar operations of all intervals together up to which CasADi expands the program: faster, but slower to build."""


SIZE_LIMIT = 500_000_000
"""Scalar operations of all intervals times states: beyond it a single iteration takes many seconds."""


class Candidate(NamedTuple):
    """One run of IPOPT. Its numbers are a proposal until the schedule is simulated by the flow room.

    Attributes:
        start: what ε the run began with.
        values: ε on the intervals, within the bounds, shape (N,) or (N, m).
        status: IPOPT's return status.
        success: whether IPOPT itself calls it a success.
        iterations: IPOPT's iterations.
    """

    start: str
    values: Float[np.ndarray, "N *m"]
    status: str
    success: bool
    iterations: int


@dataclass(frozen=True, eq=False)
class Program:
    """min cost(x_N, goal)/unit over controls and states, subject to every interval's equations.

    Attributes:
        solver: CasADi's interface to IPOPT.
        variables: numbers per interval: the controls, inner states, and last the state that the interval ends with.
        controls: the first of them, 1 or m.
        intervals: N.
    """

    solver: Any
    variables: int
    controls: int
    intervals: int


def build_program(interval: Any, intervals: int, controls: int, states: int, max_iterations: int, cost: Any) -> Program:
    """Chain N copies of one interval.

    Args:
        interval: CasADi function (state before, variables of the interval, parameters…) ↦ residuals that must vanish.
        intervals: N.
        controls: controls per interval.
        states: numbers in a state.
        max_iterations: IPOPT's limit.
        cost: CasADi function (last state, goal, parameters…) ↦ what is minimised.

    Raises:
        InputError: a program so large that it would run for hours.
    """
    operations = interval.n_instructions() * intervals
    if operations * states > SIZE_LIMIT:
        raise InputError(
            f"the transcription would hold {operations:.1e} operations over {states} states, and every iteration "
            f"differentiates them by each state (limit {SIZE_LIMIT:.0e} in all). Use fewer intervals, a subsample of "
            "the data, or a smaller model."
        )
    variables = interval.size1_in(1)
    w = ca.MX.sym("w", variables, intervals)
    first, goal, unit = ca.MX.sym("first", states), ca.MX.sym("goal", states), ca.MX.sym("unit")
    parameters = [ca.MX.sym(f"p{i}", interval.size_in(i)) for i in range(2, interval.n_in())]
    before = ca.horzcat(first, w[-states:, :-1]) if intervals > 1 else first
    residuals = interval.map(intervals)(before, w, *parameters)
    program = {
        "x": ca.vec(w),
        "p": ca.veccat(first, goal, unit, *parameters),
        "f": cost(w[-states:, -1], goal, *parameters) / unit,
        "g": ca.vec(residuals),
    }
    options = {
        "expand": operations <= EXPAND_LIMIT,
        "error_on_fail": False,
        "print_time": False,
        "ipopt": {"print_level": 0, "sb": "yes", "tol": 1e-9, "max_iter": max_iterations},
    }
    return Program(ca.nlpsol("schedule", "ipopt", program, options), variables, controls, intervals)


def differentiable(name: str, inputs: list[Any], outputs: list[Any]) -> Any:
    """A CasADi function whose first two inputs (state, variables) alone are differentiated.

    Without the mark, every Jacobian of the chain would also hold the derivatives by its parameters, the data.
    """
    return ca.Function(name, inputs, outputs, {"is_diff_in": [True, True] + [False] * (len(inputs) - 2)})


def solve_program(
    program: Program,
    start: str,
    guess: Float[np.ndarray, "N variables"],
    bounds: tuple[float, float],
    parameters: list[np.ndarray],
) -> Candidate:
    """One run from `guess`. `parameters`: first state, goal, unit of the cost, then the interval's own."""
    lower, upper = np.full(guess.shape, -np.inf), np.full(guess.shape, np.inf)
    lower[:, : program.controls], upper[:, : program.controls] = bounds
    # Arrays enter in C order, as the translation of a model reads them.
    numbers = np.concatenate([np.ravel(parameter) for parameter in parameters])
    solution = program.solver(x0=guess.ravel(), p=numbers, lbx=lower.ravel(), ubx=upper.ravel(), lbg=0.0, ubg=0.0)
    stats = program.solver.stats()
    values = np.asarray(solution["x"]).reshape(guess.shape)[:, : program.controls]
    return Candidate(start, _tidy(values, bounds), stats["return_status"], bool(stats["success"]), stats["iter_count"])


def _tidy(values: np.ndarray, bounds: tuple[float, float]) -> np.ndarray:
    """Finite, on the bounds where within 1e-6 of them; one column becomes a vector."""
    values = on_bounds(np.where(np.isfinite(values), values, bounds[0]), bounds, 1e-6)
    return values[:, 0] if values.shape[1] == 1 else values


def on_bounds(values: np.ndarray, bounds: tuple[float, float], margin: float) -> np.ndarray:
    """Values within the bounds, and moved onto a bound that is closer than a fraction `margin` of their distance."""
    low, high = bounds
    near = margin * (high - low)
    return np.where(values < low + near, low, np.where(values > high - near, high, values))
