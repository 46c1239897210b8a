"""`epsflow unlearn`: what unlearning algorithms take, guarantee and cost."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import _core, plots, unlearning
from . import _options as options
from ._console import Column, Row, Table, show
from ._inputs import NETWORKS, Architecture, Source, Training, architecture, read_material
from ._output import RESULT, UNLEARNING_FIGURE, check_folder, write_folder
from ._progress import stages

if TYPE_CHECKING:
    from ..problem import Problem
    from ..unlearning import AbstractAlgorithm, GuaranteeTable, UnlearningCurve
    from ._models import Trained

CURVE_POINTS = 9


@dataclass(frozen=True)
class Guarantee(Architecture):
    """The options of `unlearn`, as they were given; None for what was not.

    Attributes:
        seed: of a network's start.
        epsilon_dp, delta_dp: the target.
        scope: of the certificates. Default: per data set for linear regression, worst case for logistic and softmax
            regression, per instance for an MLP.
        steps, extra_steps: T and K.
        step_size, radius: of gradient descent, and of the ball that noisy algorithms (and worst cases of unbounded
            gradients) project to. Default radius: twice the length of the trained parameters.
        draws: noisy models per algorithm.
    """

    seed: options.NetworkSeed = 0
    epsilon_dp: options.PrivacyEpsilon = 1.0
    delta_dp: options.PrivacyDelta = 1e-5
    scope: options.WhichScope = None
    steps: options.Steps = 1_000
    extra_steps: options.UnlearningSteps = 100
    step_size: options.StepSize = None
    radius: options.Radius = None
    draws: options.Draws = 20

    def refuse(self) -> None:
        """Refuse numbers that no guarantee could have.

        Raises:
            InputError: naming the one that is wrong.
        """
        if _core.as_scalar(self.epsilon_dp, "epsilon_dp") <= 0.0:
            raise _core.InputError(f"epsilon_dp is {self.epsilon_dp:g}; it must be above 0.")
        if not 0.0 < _core.as_scalar(self.delta_dp, "delta_dp") < 1.0:
            raise _core.InputError(
                f"delta_dp is {self.delta_dp:g}, but δ_dp is a probability inside (0, 1), usually below 1/n."
            )
        for name, value in (("step_size", self.step_size), ("radius", self.radius)):
            if value is not None and _core.as_scalar(value, name) <= 0.0:
                raise _core.InputError(f"{name} is {value:g}; a positive number is needed.")
        if self.extra_steps > self.steps:
            raise _core.InputError(
                f"K > T: --unlearning-steps {self.extra_steps} exceed --steps {self.steps}; one cannot rewind beyond "
                "the start of training."
            )

    def training(self) -> Training:
        """As options of training."""
        stop = "early" if self.kind in NETWORKS else None
        size = self.step_size
        return Training(
            **architecture(self), seed=self.seed, stop=stop, steps=self.steps, step_size=size, extra_steps=0
        )


def unlearn(
    source: Source,
    guarantee: Guarantee,
    out: options.UnlearnFolder = None,
    as_json: options.AsJson = False,
    quiet: options.Quiet = False,
) -> None:
    """The table of algorithms; files only where asked."""
    run(source, guarantee, out, as_json=as_json, quiet=quiet)


def run(source: Source, guarantee: Guarantee, folder: Path | None, *, as_json: bool, quiet: bool) -> None:
    """Check, compute, write, print.

    Raises:
        InputError: options that cannot be used; a scope that cannot be computed; files that could not be written.
        ConvergenceError: a run diverged.
    """
    guarantee.refuse()
    if folder is not None:
        check_folder(folder)
    with stages(4, quiet=quiet) as begin:
        begin("reading the data")
        training = guarantee.training()
        material = read_material(source, training)
        begin("training")
        from ._deletion import warnings  # from here on JAX is needed
        from ._document import heading, to_json
        from ._models import train_model

        trained = train_model(source, training, material)
        problem, asked = trained.deletion.problem, _asked(trained, guarantee)
        if guarantee.step_size is not None and (problem.design is not None or asked.scope == "worst case"):
            _check_step(problem, guarantee.step_size)
        begin("certifying")
        target: Any = {"epsilon_dp": guarantee.epsilon_dp, "delta_dp": guarantee.delta_dp, "scope": asked.scope}
        table = unlearning.guarantees(problem, asked.algorithms, trained.theta0, draws=guarantee.draws, **target)
        begin("writing")
        curves = _curves(problem, trained, asked, target) if folder is not None or as_json else ()
        document = to_json(
            {**heading("unlearn", source, trained.deletion), **_answers(guarantee, asked, table, curves)}
        )
        written = write_folder(folder, {RESULT: document + "\n"}, lambda place: _draw(curves, place))
    if as_json:
        print(document)
    else:
        drawn, notes, told = _table(trained, table), _notes(table), warnings(problem)
        show(drawn, finding(table), written.files, quiet=quiet, notes=notes, warnings=told)
    if written.trouble is not None:
        raise written.trouble


@dataclass(frozen=True)
class _Asked:
    scope: str
    radius: float
    algorithms: tuple["AbstractAlgorithm", ...]


def _asked(trained: "Trained", guarantee: Guarantee) -> _Asked:
    import numpy as np

    from .. import analysis

    problem, network = trained.deletion.problem, not trained.deletion.problem.convex
    scope = guarantee.scope
    if scope is None:
        linear = problem.design is not None
        scope = "per instance" if network else "per data set" if linear else "worst case"
    theta = trained.theta_s if trained.theta_s is not None else analysis.train(problem).theta
    size = float(np.linalg.norm(np.asarray(theta)))
    radius = guarantee.radius if guarantee.radius is not None else 2.0 * size if size > 0.0 else 1.0
    # The squared loss has no bounded gradient without a ball.
    ball = radius if guarantee.radius is not None or (scope == "worst case" and problem.design is not None) else None
    common: Any = {"step_size": trained.step_size}
    counts: Any = {"steps": guarantee.steps, "unlearning_steps": guarantee.extra_steps}
    algorithms: list[AbstractAlgorithm] = [
        unlearning.Retrain(steps=guarantee.steps, radius=ball, **common),
        unlearning.DescendToDelete(**counts, radius=ball, **common),
        unlearning.RewindToDelete(**counts, radius=ball, **common),
        unlearning.GradientAscent(steps=guarantee.steps, unlearning_steps=min(guarantee.extra_steps, 10), radius=ball),
        unlearning.NewtonRemoval(),
        unlearning.CertifiedRemoval(),
        unlearning.LangevinUnlearning(**counts, radius=radius, **common),
        _noisy_sgd(problem, guarantee, radius),
    ]
    if guarantee.extra_steps:
        algorithms.append(unlearning.ClippedFinetuning(**counts, initial_radius=size, radius=1.0, **common))
    return _Asked(scope, radius, tuple(algorithms))


def _check_step(problem: "Problem", step_size: float) -> None:
    """Refuse a step that no row of the table could be certified with; non-convex risks have no limit.

    Raises:
        InputError: η > 2/L, naming the limit.
    """
    if problem.convex:
        unlearning.risk_constants(problem, 1.0).contraction(step_size)  # curvature does not depend on the radius


def _noisy_sgd(problem: "Problem", guarantee: Guarantee, radius: float) -> "AbstractAlgorithm":
    """Whole epochs, as many as K steps begin; batches of at least 16 points that divide n."""
    n = problem.data.n
    batch = next((b for b in range(min(16, n), n + 1) if n % b == 0), n)
    epochs = max(1, math.ceil(guarantee.extra_steps / (n // batch)))
    return unlearning.NoisySGD(
        steps=guarantee.steps, unlearning_steps=epochs * (n // batch), batch_size=batch, radius=radius
    )


def _curves(
    problem: "Problem", trained: "Trained", asked: _Asked, target: dict[str, Any]
) -> tuple["UnlearningCurve", ...]:
    """Distance and bound over K of D2D and R2D."""
    import numpy as np

    curves = []
    for algorithm in asked.algorithms[1:3]:
        most = algorithm.steps  # pyright: ignore[reportAttributeAccessIssue]
        amounts = np.unique(np.concatenate([[0], np.geomspace(1, max(most, 1), CURVE_POINTS).astype(int)]))
        try:
            curves.append(unlearning.unlearning_curve(problem, algorithm, trained.theta0, amounts=amounts, **target))
        except _core.InputError:  # the table says why there is no certificate
            continue
    return tuple(curves)


def _draw(curves: tuple["UnlearningCurve", ...], place: Path) -> None:
    axes = plots.panels()
    if curves:
        plots.unlearning_curve(curves, ax=axes[0])
    plots.save(axes, *(place / name for name in UNLEARNING_FIGURE))


def finding(table: "GuaranteeTable") -> str:
    """Which algorithm needs the least noise in its output, and what that costs."""
    kept = [
        k
        for k, found in enumerate(table.certificates)
        if found.noise == "output" and found.algorithm != "retrain" and math.isfinite(found.sigma)
    ]
    if not kept:
        return "No algorithm with noise in its output has a finite certificate here."
    best = min(kept, key=lambda k: table.certificates[k].sigma)
    found = table.certificates[best]
    return (
        f"{found.algorithm} needs the least noise in its output, σ = {found.sigma:.4g} ({found.scope}, {found.kind}), "
        f"for (ε_dp, δ_dp) = ({found.epsilon:g}, {found.delta:g}); {table.quality_name} {table.quality[best]:.4g} "
        f"without noise, {table.noisy_quality[best]:.4g} with it."
    )


def _table(trained: "Trained", table: "GuaranteeTable") -> Table:
    model = type(trained.deletion.problem.model).__name__
    numbers = "steps", "distance", "bound", "tightness", "σ", table.quality_name, "with noise"
    columns = [Column("algorithm"), *(Column(name, number=True) for name in numbers), Column("noise, scope, kind")]
    drawn = Table(f"{trained.deletion.title}\n{model}", columns)
    for k, found in enumerate(table.certificates):
        cells = (
            found.algorithm,
            f"{found.steps:,}",
            f"{found.distance:.3e}",
            f"{found.bound:.3e}",
            "–" if math.isnan(found.tightness) else f"{found.tightness:.2g}",
            f"{found.sigma:.4g}",
            f"{table.quality[k]:.4f}",
            f"{table.noisy_quality[k]:.4g}",
            f"{found.noise}, {found.scope}, {found.kind}",
        )
        drawn.rows.append(Row(cells))
    return drawn


def _notes(table: "GuaranteeTable") -> list[str]:
    return [f"{name}: no certificate: {why}" for name, why in table.refused.items()]


def _answers(
    guarantee: Guarantee, asked: _Asked, table: "GuaranteeTable", curves: tuple["UnlearningCurve", ...]
) -> dict[str, Any]:
    rows = [
        {
            "algorithm": found.algorithm,
            "steps": found.steps,
            "gradients": found.gradients,
            "training_gradients": found.training_gradients,
            "step_size": found.step_size,
            "distance": found.distance,
            "bound": found.bound,
            "tightness": found.tightness,
            "sigma": found.sigma,
            "noise": found.noise,
            "scope": found.scope,
            "kind": found.kind,
            "theorem": found.theorem,
            "theorem_sigma": found.theorem_sigma,
            "quality": table.quality[k],
            "quality_with_noise": table.noisy_quality[k],
            "quality_retrained": table.retrained_quality[k],
            "conventions": list(found.conventions),
        }
        for k, found in enumerate(table.certificates)
    ]
    return {
        "finding": finding(table),
        "options": {
            "epsilon_dp": guarantee.epsilon_dp,
            "delta_dp": guarantee.delta_dp,
            "scope": asked.scope,
            "steps": guarantee.steps,
            "unlearning_steps": guarantee.extra_steps,
            "radius": asked.radius,
            "draws": guarantee.draws,
        },
        "quality": table.quality_name,
        "algorithms": rows,
        "refused": table.refused,
        "curves": [
            {
                "algorithm": curve.algorithm,
                "scope": curve.scope,
                "kind": curve.kind,
                "K": curve.amounts,
                "distance": curve.distances,
                "bound": curve.bounds,
                "sigma": curve.sigmas,
            }
            for curve in curves
        ],
    }
