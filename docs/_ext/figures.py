"""Small figures, one for every function of `epsflow.plots`, and which results they show."""

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

import epsflow as ef

ZERO = np.zeros(10)
TARGET = {"epsilon_dp": 1.0, "delta_dp": 1e-5}


@cache
def diabetes() -> Any:
    return ef.linear_regression(ef.load_dataset("diabetes"), delete=[382], reduction="mean")


@cache
def small() -> Any:
    rng = np.random.default_rng(3)
    x = rng.normal(size=(10, 2))
    return ef.linear_regression(
        ef.Dataset(x, x @ [1.0, 1.0] + rng.normal(size=10)), delete=[0], l2=0.1, reduction="mean"
    )


@cache
def plane() -> Any:
    x = np.array([[1.0, 0.3], [0.3, 0.4], [1.0, -0.8]])
    return ef.linear_regression(ef.Dataset(x, np.array([1.0, -0.5, 1.5])), delete=[2])


@cache
def compared() -> Any:
    return ef.compare_schedules(diabetes(), ZERO, s=50.0, T=200.0)


@cache
def scored() -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 2))
    problem = ef.Problem(ef.LinearModel(2), ef.LogisticLoss(), ef.Dataset(x, (x[:, 0] > 0.0) * 1.0), l2=1.0)
    return ef.compare_attributions(problem, ("influence", "newton", "knn"), groups=3, fractions=(0.0, 0.1, 0.2, 0.3))


@cache
def density() -> Any:
    prediction = ef.Predictions(small().model, np.array([[1.0, 0.5]]))
    path = {"ts": np.linspace(0.0, 8.0, 81), "functional": prediction}
    return ef.influence_density(small(), ef.Constant(1.0), np.zeros(2), **path)


@cache
def study() -> Any:
    import tempfile

    asked = {"s": [1.0], "T": [6.0], "problems": [{"kind": "random", "d": [2, 3], "draws": 30}]}
    found = ef.Study("figures", store=Path(tempfile.mkdtemp()) / "figures.sqlite", **asked)
    found.run()
    return found.to_pandas()


def schedule() -> Any:
    return ef.plots.schedule(compared())


def schedule_conditions() -> Any:
    return ef.plots.schedule(compared(), conditions=True)


def distance() -> Any:
    return ef.plots.distance(compared())


def phase_portrait() -> Any:
    table = ef.compare_schedules(plane(), np.zeros(2), s=0.2, T=2.0)
    return ef.plots.phase_portrait(plane(), table)


def homotopy() -> Any:
    grids = {"eps": np.linspace(0.0, 1.0, 21), "ts": np.linspace(0.0, 3.0, 31)}
    return ef.plots.homotopy(ef.homotopy(plane(), theta0=np.zeros(2), **grids))


def homotopy_surface() -> Any:
    grids = {"eps": np.linspace(0.0, 1.0, 21), "ts": np.linspace(0.0, 3.0, 31)}
    return ef.plots.homotopy(ef.homotopy(plane(), theta0=np.zeros(2), **grids), kind="surface")


def rewind() -> Any:
    surface = ef.rewind_surface(plane(), theta0=np.zeros(2), s=np.linspace(0.0, 3.0, 61), T=np.array([1.0, 2.0, 3.0]))
    return ef.plots.rewind(surface, ef.retrain(plane()).theta)


def exact_starts() -> Any:
    return ef.plots.exact_starts(plane(), ef.exact_starts(plane(), longest=1.5, grid=21), theta0=[0.0, 0.0])


def endpoints() -> Any:
    return ef.plots.endpoints(ef.endpoints(diabetes()))


def decomposition() -> Any:
    x = np.random.default_rng(1).normal(size=(30, 3))
    problem = ef.Problem(ef.LinearModel(3), ef.LogisticLoss(), ef.Dataset(x, (x[:, 0] > 0.0) * 1.0), delete=[2], l2=1.0)
    theta = ef.train(problem).theta
    found = {"exact θ": ef.decompose(problem, theta, damping=1e-1)}
    return ef.plots.decomposition({**found, "θ + 0.01": ef.decompose(problem, theta + 0.01, damping=1e-1)})


def response() -> Any:
    return ef.plots.response(ef.response_path(diabetes()))


def losses() -> Any:
    import optax

    run = ef.train_with(diabetes(), ef.Constant(1.0), ZERO, optimiser=optax.adam(0.1), steps=200)
    return ef.plots.losses(run)


def distance_of_runs() -> Any:
    runs = {
        f"step size {eta}": ef.gradient_descent(small(), 0.0, np.zeros(2), steps=np.arange(30), step_size=eta)
        for eta in (0.1, 0.5)
    }
    return ef.plots.distance(runs, target=ef.retrain(small()).theta)


def point_changes() -> Any:
    return ef.plots.point_values(ef.retrain_all(small()))


def influence() -> Any:
    return ef.plots.influence(density(), most=4, stages=ef.stages(density()))


def stagewise() -> Any:
    ask = {"ts": density().ts, "functional": ef.Predictions(small().model, np.array([[1.0, 0.5]]))}
    windows = [
        ef.windowed_removal(small(), ef.Constant(1.0), np.zeros(2), window=(t, t + 2.0), **ask) for t in (0.0, 2.0, 4.0)
    ]
    sampler = {"functional": ask["functional"], "sampler": "exact", "gamma": 1.0}
    bayesian = {
        float(density().ts[k]): ef.bayesian_influence(small(), density().thetas[k], **sampler) for k in (20, 60)
    }
    return ef.plots.stagewise(density(), windows=windows, bayesian=bayesian, stages=ef.stages(density()), most=3)


def plateaus() -> Any:
    return ef.plots.plateaus(ef.plateau_flow([0.5, 1.0, 0.5], time_scale=1e-3, neurons=16))


def plateau_slopes() -> Any:
    found = ef.attribution.plateau_slopes([0.0, 1.0, 0.5], time_scales=10.0 ** -np.arange(2.0, 6.0), neurons=8)
    return ef.plots.plateau_slopes(found)


def point_values() -> Any:
    return ef.plots.point_values(ef.data_shapley(lambda s: float(np.sqrt(len(s)) + 3.0 * (4 in s)), 12, tolerance=0.1))


def attributions() -> Any:
    return ef.plots.attributions(scored())


def removal() -> Any:
    return ef.plots.removal(scored())


def soft_weights() -> Any:
    rng = np.random.default_rng(0)
    x = rng.normal(size=(30, 2))
    problem = ef.linear_regression(ef.Dataset(x, x[:, 0] + rng.normal(size=30)), l2=0.1)
    return ef.plots.soft_weights(ef.soft_weights(problem, objective=lambda theta: theta[1] ** 2))


def unlearning_curve() -> Any:
    algorithms = [ef.RewindToDelete(steps=100), ef.DescendToDelete(steps=100)]
    curves = [ef.unlearning_curve(small(), each, amounts=[1, 3, 10, 30, 100], **TARGET) for each in algorithms]
    return ef.plots.unlearning_curve(curves)


def guarantees() -> Any:
    algorithms = [ef.Retrain(steps=50), ef.DescendToDelete(steps=50), ef.RewindToDelete(steps=50, unlearning_steps=20)]
    return ef.plots.guarantees(ef.guarantees(small(), algorithms, draws=4, **TARGET))


def audit() -> Any:
    return ef.plots.audit(ef.audit(small(), ef.RewindToDelete(steps=20, unlearning_steps=5), models=20, **TARGET))


def distributions() -> Any:
    groups = {f"d = {d}": part["cost_Step"] / part["cost_LinearDecay"] for d, part in study().groupby("d")}
    ratios = {name: part.to_numpy() for name, part in groups.items()}
    return ef.plots.distributions(ratios, "best step over best linear decay")


def intervals() -> Any:
    return ef.plots.intervals(
        {"d = 2": (0.5, 0.32, 0.68), "d = 3": (0.43, 0.26, 0.61), "all": (0.47, 0.34, 0.6)}, "share"
    )


def grouped_intervals() -> Any:
    optimum, rewind = {"digits": (0.8, 0.7, 0.9), "wine": (0.5, 0.4, 0.7)}, {"digits": (1.0, 0.9, 1.1)}
    return ef.plots.grouped_intervals({"optimum": optimum, "R2D": rewind}, "distance, retraining = 1")


def bands() -> Any:
    depths = np.linspace(0.0, 1.0, 21)
    middle = {"rewind": np.exp(-3.0 * depths), "descend": np.exp(-2.0 * depths)}
    quartiles = {name: np.stack([0.7 * line, line, 1.5 * line]) for name, line in middle.items()}
    return ef.plots.bands(depths, quartiles, "share of training undone", "distance to retraining")


FIGURES: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (
        schedule, schedule_conditions, distance, phase_portrait, homotopy, homotopy_surface, rewind,
        exact_starts, endpoints, decomposition, response, losses, distance_of_runs, point_changes,
        influence, stagewise, plateaus, plateau_slopes, point_values,
        attributions, removal, soft_weights, unlearning_curve, guarantees, audit, distributions, intervals,
        grouped_intervals,
        bands,
    )
}  # fmt: skip

DRAWN: dict[str, tuple[str, ...]] = {
    "ScheduleSolution": ("schedule", "schedule_conditions", "distance", "phase_portrait"),
    "Comparison": ("schedule", "distance", "phase_portrait"),
    "FamilyResult": ("schedule",),
    "SecondOpinion": ("schedule",),
    "Extremal": ("schedule_conditions",),
    "ExactStarts": ("exact_starts",),
    "Trajectory": ("distance", "phase_portrait"),
    "Training": ("losses", "distance_of_runs"),
    "HomotopySurface": ("homotopy", "homotopy_surface"),
    "RewindSurface": ("rewind",),
    "Descent": ("distance_of_runs",),
    "Unlearning": ("distance_of_runs",),
    "Endpoints": ("endpoints",),
    "Decomposition": ("decomposition",),
    "ResponsePath": ("response",),
    "RetrainingAll": ("point_changes",),
    "Influence": ("point_changes",),
    "NewtonStep": ("point_changes",),
    "SelfInfluence": ("point_changes",),
    "Leverage": ("point_changes",),
    "InfluenceDensity": ("influence", "stagewise"),
    "CheckpointInfluence": ("influence",),
    "Stages": ("influence", "stagewise"),
    "WindowedRemoval": ("stagewise", "point_changes"),
    "TrainingScores": ("point_changes",),
    "BayesianInfluence": ("stagewise", "point_values"),
    "PlateauFlow": ("plateaus",),
    "PlateauSlopes": ("plateau_slopes",),
    "DataValues": ("point_values",),
    "KNNShapley": ("point_values",),
    "AttributionComparison": ("attributions", "removal"),
    "SoftWeights": ("soft_weights",),
    "UnlearningCurve": ("unlearning_curve",),
    "GuaranteeTable": ("guarantees",),
    "UnlearningAudit": ("audit",),
}
"""The figures of every result that has some."""

NUMBERS: dict[str, str] = {
    "a few numbers, which `summary()` prints": """
        Equilibrium PBRF Reconstruction ResponseJacobian ExactUnlearning StepCounts UnlearningCertificate
        StreamCertificate UnlearningRun UnlearningComparison MinimaxSchedule OptimalNoise DistanceLaw RiskConstants
        DatamodelingScores Search
    """,
    "words with their evidence, which `write_report` sets as a page with figures": "Claim Verdict Ledger",
    "what is asked, not what is found": """
        Dataset Problem Fitted ControlTask Course CertifiedRemoval ClippedFinetuning DescendToDelete GradientAscent
        LangevinUnlearning NewtonRemoval NoisySGD Retrain RewindToDelete ScheduledUnlearning
    """,
}
"""Public classes without a figure, by the reason."""
