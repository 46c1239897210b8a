"""A nonlinear program over intervals, and IPOPT.

Every transcription has the same form: interval k carries its control and its states, and is tied to the state that the
interval before it ends with. Programs depend on shapes alone; numbers are parameters, so a program is built once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..._core import InputError
from ..terms._deadline import Deadline
from ..terms._levels import as_column
from ..terms._runs import AbstractTranscription, Candidate
from ..terms._window import Effort, MeshWindow
from ._casadi import ca

EXPAND_LIMIT = 200_000
"""Scalar operations of all intervals together up to which CasADi expands the program: faster, but slower to build."""

TOLERANCE = (1e-9, 1e-12)
"""IPOPT's, in units of the cost, without and with a price or a budget: next to a singular arc S + ρ is small, and so is
what an interval gains by going to its bound."""

MAX_ITERATIONS = 500
"""Of IPOPT."""

SIZE_LIMIT = 500_000_000
"""Scalar operations of all intervals times states: beyond it a single iteration takes many seconds."""


@dataclass(frozen=True, eq=False)
class Program:
    """min (φ(x_N) + ρE)/unit over controls and states, subject to every interval's equations and E = ∫|u| dt ≤ B.

    Attributes:
        solver: CasADi's interface to IPOPT.
        watch: what stops it between two iterations when time is up.
        controls: 1 or m, the first of the variables of every interval; inner states follow, and last the state that the
            interval ends with.
        intervals: N.
        effort: how |u| is written. Where both signs occur, the variables of all intervals are followed by N·m numbers
            n ≥ 0, and the equations by as many inequalities n + u ≥ 0; the budget is the last constraint.
    """

    solver: Any
    watch: "Watch"
    controls: int
    intervals: int
    effort: Effort


class Watch(ca.Callback):
    """IPOPT asks it after every iteration whether to go on. A program outlives the deadlines of its runs."""

    def __init__(self, variables: int, constraints: int, parameters: int):
        ca.Callback.__init__(self)
        self.deadline = Deadline(None)
        self.sizes = {"x": variables, "f": 1, "g": constraints, "lam_x": variables, "lam_g": constraints}
        self.sizes["lam_p"] = parameters
        self.construct("watch", {})

    def get_n_in(self) -> int:
        """CasADi: as many inputs as a solver has outputs."""
        return ca.nlpsol_n_out()

    def get_n_out(self) -> int:
        """CasADi: one, whether to stop."""
        return 1

    def get_sparsity_in(self, i: int) -> Any:
        """CasADi: shape of the i-th output of a solver."""
        return ca.Sparsity.dense(self.sizes[ca.nlpsol_out(i)], 1)

    def eval(self, arg: Any) -> list[int]:
        """CasADi: 1 to stop."""
        return [int(self.deadline.passed)]


def build_program(
    interval: Any,
    terminal: Any,
    intervals: int,
    controls: int,
    states: int,
    effort: Effort,
) -> Program:
    """Chain N copies of one interval.

    Args:
        interval: CasADi function (state before, variables of the interval, parameters…) ↦ residuals that must vanish.
        terminal: CasADi function (last state, the same parameters…) ↦ φ.
        intervals: N.
        controls: controls per interval.
        states: numbers in a state.
        effort: whether, and how, ∫|u| dt enters.

    Raises:
        InputError: a program so large that it would run for hours.
    """
    operations = interval.n_instructions() * intervals
    if operations * states > SIZE_LIMIT:
        raise InputError(
            f"the transcription would hold {operations:.1e} operations over {states} states, and every iteration "
            f"differentiates them by each state (limit {SIZE_LIMIT:.0e} in all). Use fewer intervals, a subsample of "
            'the data, a smaller model, or method="adjoint", which builds no program.'
        )
    variables = interval.size1_in(1)
    w = ca.MX.sym("w", variables, intervals)
    first, unit = ca.MX.sym("first", states), ca.MX.sym("unit")
    parameters = [ca.MX.sym(f"p{i}", interval.size_in(i)) for i in range(2, interval.n_in())]
    before = ca.horzcat(first, w[-states:, :-1]) if intervals > 1 else first
    residuals = interval.map(intervals)(before, w, *parameters)
    program = {
        "x": ca.vec(w),
        "p": ca.veccat(first, unit, *parameters),
        "f": terminal(w[-states:, -1], *parameters) / unit,
        "g": ca.vec(residuals),
    }
    if effort is not Effort.FREE:
        _add_effort(program, w[:controls, :], unit, effort)
    watch = Watch(*(program[part].numel() for part in ("x", "g", "p")))
    options = {
        "iteration_callback": watch,
        "expand": operations <= EXPAND_LIMIT,
        "error_on_fail": False,
        "print_time": False,
        "ipopt": {
            "print_level": 0,
            "sb": "yes",
            "tol": TOLERANCE[effort is not Effort.FREE],
            "max_iter": MAX_ITERATIONS,
        },
    }
    return Program(ca.nlpsol("schedule", "ipopt", program, options), watch, controls, intervals, effort)


def _add_effort(program: dict[str, Any], u: Any, unit: Any, effort: Effort) -> None:
    """ρE in the objective and E as the last constraint, linear both; ρ, the interval's length and u's sign come last.

    |u| = ±u where u has one sign. Where it has both, |u| = u + 2n for the least n ≥ 0 with n + u ≥ 0.
    """
    price, length, sign = ca.MX.sym("price"), ca.MX.sym("length"), ca.MX.sym("sign")
    total = sign * ca.sum(ca.vec(u))
    if effort is Effort.BOTH_SIGNS:
        negative = ca.MX.sym("negative", u.numel())
        total += 2.0 * ca.sum(negative)
        program["x"] = ca.veccat(program["x"], negative)
        program["g"] = ca.veccat(program["g"], negative + ca.vec(u))
    program["p"] = ca.veccat(program["p"], price, length, sign)
    program["f"] += price * length * total / unit
    program["g"] = ca.veccat(program["g"], length * total)


def differentiable(name: str, inputs: list[Any], outputs: list[Any]) -> Any:
    """A CasADi function whose first two inputs (state, variables) alone are differentiated.

    Without the mark, every Jacobian of the chain would also hold the derivatives by its parameters, the data.
    """
    return ca.Function(name, inputs, outputs, {"is_diff_in": [True, True] + [False] * (len(inputs) - 2)})


@dataclass(frozen=True, eq=False)
class Transcription(AbstractTranscription):
    """IPOPT on the program of a problem.

    Attributes:
        window, deadline: see `AbstractTranscription`.
        program: of the problem's shapes.
        parameters: the first state, then those of an interval.
        feasible: the variables that satisfy every equation for given controls: where a run starts.
    """

    window: MeshWindow
    deadline: Deadline
    program: Program
    parameters: list[np.ndarray]
    feasible: Callable[[Float[np.ndarray, "N controls"]], Float[np.ndarray, "N variables"]]

    def solve(self, name: str, guess: Float[np.ndarray, "N controls"]) -> Candidate:
        """See `AbstractTranscription`."""
        program, window, variables = self.program, self.window, self.feasible(guess)
        program.watch.deadline = self.deadline
        lower, upper = np.full(variables.shape, -np.inf), np.full(variables.shape, np.inf)
        lower[:, : program.controls], upper[:, : program.controls] = window.bounds
        first, *numbers = self.parameters
        point, least, most = variables.ravel(), lower.ravel(), upper.ravel()
        floor, ceiling = np.zeros(program.solver.size1_out("g")), np.zeros(program.solver.size1_out("g"))
        numbers = [first, np.array(window.unit), *numbers]
        if program.effort is not Effort.FREE:
            numbers += [np.array([window.price, window.length / program.intervals, window.sign])]
            floor[-1], ceiling[-1] = -np.inf, window.budget
        if program.effort is Effort.BOTH_SIGNS:
            u = guess.ravel()
            ceiling[-1 - u.size : -1] = np.inf
            point = np.append(point, np.maximum(0.0, -u))
            least, most = np.append(least, np.zeros(u.size)), np.append(most, np.full(u.size, -window.bounds[0]))
        # Arrays enter in C order, as the translation of a model reads them.
        given = np.concatenate([np.ravel(number) for number in numbers])
        solution = program.solver(x0=point, p=given, lbx=least, ubx=most, lbg=floor, ubg=ceiling)
        stats = program.solver.stats()
        found = np.asarray(solution["x"]).ravel()[: variables.size].reshape(variables.shape)[:, : program.controls]
        # Finite, within the budget, and on a bound where within 1e-6 of it.
        values = as_column(window.onto_options(np.where(np.isfinite(found), found, window.cheapest), 1e-6))
        return Candidate(name, values, stats["return_status"], bool(stats["success"]), stats["iter_count"])
