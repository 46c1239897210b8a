"""What `optimise` and `compare` ask: the problem, its points and start, and how θ moves."""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from .._core import Array, InputError, install_command
from ..problem import CNN, MLP, LinearModel, LogisticLoss, Problem, SoftmaxCrossEntropy
from ..schedules import Constant
from ._deletion import Deletion, choose_points, starting_point
from ._inputs import INTERVALS, NETWORKS, WINDOWS, Architecture, Material, Moves, Question, Search, Source

MOMENTUM = 0.9
STEP_SIZES = {"sgd": 0.1, "momentum": 0.01, "adam": 0.01}
"""Learning rates on the mean risk of standardised data."""
DAMPING = 1e-3
"""Of the self-influence that chooses a network's point."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Posed:
    """A question about schedules, complete.

    Attributes:
        deletion: the problem with its deleted points.
        theta0: where training starts.
        start: the same in a word.
        s, T: the window.
        motion: how θ moves, in a word.
        step_size, batch: of an optimiser; None for the flow.
        training: the arguments that say so to `compare_schedules`; none for the flow.
        intervals: of the optimum's mesh.
        check: whether CasADi is asked as well.
    """

    deletion: Deletion
    theta0: Float[Array, " d"] | Float[np.ndarray, " d"]
    start: str
    s: float
    T: float
    motion: str
    step_size: float | None
    batch: int | None
    training: dict[str, Any]
    intervals: int
    check: bool

    @property
    def story(self) -> str:
        """The model and how it is trained, in words; empty for linear regression by the flow."""
        what = _in_words(self.deletion.problem)
        if self.motion == "flow":
            return (
                "" if self.deletion.problem.design is not None else f"{what} by gradient flow from a {self.start} start"
            )
        of = "all points" if self.batch is None else f"{self.batch} points each"
        steps = f"{self.T:g} steps of {self.motion} with η = {self.step_size:.3g} on {of}"
        return f"{what} by {steps}, from a {self.start} start"


def pose(
    source: Source, asked: Architecture, question: Question, moves: Moves, search: Search, material: Material
) -> Posed:
    """Make the problem, the start and the way θ moves, and choose the point where none is named.

    Raises:
        InputError: options that do not fit each other or the data.
        ConvergenceError: a start or a choice that needs a minimum, which was not found.
    """
    motion = moves.of(material.kind)
    by_flow = "linear" if material.kind == "linear" else "flow"
    s, T = question.window(WINDOWS[by_flow if motion == "flow" else "steps"])
    for name, value in (("s", s), ("T", T)) if motion != "flow" else ():
        if value != round(value):
            raise InputError(f"an optimiser makes whole steps, and {name} = {value:g} is no whole number.")
    start = question.start or ("random" if material.kind in NETWORKS else "zero")
    if material.kind in ("mlp", "cnn") and start == "zero":
        raise InputError("--start zero: all neurons of a network would be, and stay, the same; use --start random.")
    if material.kind == "linear":
        deletion = choose_points(source, material.data)
    else:
        from ._models import problem_of  # with much of `analysis`, which linear regression spares

        named = source.points(material.data.n)
        deletion = Deletion(problem_of(source, asked, material, named), "named" if named else "")
    problem = deletion.problem
    theta0 = starting_point(start, question.seed, problem)
    size = None if motion == "flow" else _step_size(motion, moves, problem)
    training = {} if size is None else _training(motion, size, moves, question)
    if not deletion.chosen_by:
        from ._models import most_influential

        deletion = most_influential(problem, _trained(problem, theta0, s, training), DAMPING)
    most = INTERVALS if motion == "flow" else max(1, min(INTERVALS, round(T - s)))
    return Posed(
        deletion=deletion,
        theta0=theta0,
        start=start,
        s=s,
        T=T,
        motion=motion,
        step_size=size,
        batch=moves.batch,
        training=training,
        intervals=most if search.intervals is None else search.intervals,
        check=material.kind == "linear" and motion == "flow" if search.check is None else search.check,
    )


def _step_size(motion: str, moves: Moves, problem: Problem) -> float:
    """The learning rate; what is usual for the mean is divided by n for the sum, but for Adam, which has no units."""
    if moves.step_size is not None:
        return moves.step_size
    return STEP_SIZES[motion] / (1.0 if motion == "adam" else problem.scale * problem.data.n)


def _training(motion: str, size: float, moves: Moves, question: Question) -> dict[str, Any]:
    try:
        import optax
    except ImportError as error:
        raise InputError(
            f"--optimiser {motion} needs optax, which is not installed: {install_command('train')}. --optimiser flow "
            "does without."
        ) from error
    made = {
        "sgd": lambda: optax.sgd(size),
        "momentum": lambda: optax.sgd(size, momentum=MOMENTUM),
        "adam": lambda: optax.adam(size),
    }
    key = None if moves.batch is None else jax.random.key(question.seed)
    return {"optimiser": made[motion](), "batch": moves.batch, "key": key}


def _trained(problem: Problem, theta0: Any, s: float, training: dict[str, Any]) -> Any:
    """Where the self-influence is asked: the optimum of a convex risk, θ(s) of another one."""
    from ..analysis import train
    from ..flow import gradient_flow, train_with

    if problem.convex:
        return train(problem).theta
    if not training:
        return gradient_flow(problem, Constant(1.0), theta0, ts=np.array([s])).end if s > 0.0 else theta0
    return train_with(problem, Constant(1.0), theta0, steps=round(s), **training).theta if s > 0.0 else theta0


def _in_words(problem: Problem) -> str:
    match problem.model:
        case LinearModel():
            known = {LogisticLoss: "logistic regression", SoftmaxCrossEntropy: "softmax regression"}
            return known.get(type(problem.loss), "linear regression")
        case MLP() as model:
            return f"an MLP {'–'.join(map(str, model.widths))}"
        case CNN() as model:
            channels, widths = ("–".join(map(str, sizes)) for sizes in (model.channels, model.widths))
            return f"a CNN of {channels} channels, then {widths},"
        case model:
            return f"a {type(model).__name__} of {model.dim} parameters"
