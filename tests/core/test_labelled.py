"""`to_xarray()`: the arrays of a result, with the names of their axes."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import optax
import pytest

import epsflow as ef
from epsflow._core import SUCCESS, Axed, Labelled

xr = pytest.importorskip("xarray", reason="xarray is not installed (it comes with the extra studies)")

LABELLED = re.compile(r"^class (\w+)\([^)]*\bLabelled\b", re.MULTILINE)
"""A class that says what its axes are; found in the source, because loading all of it takes seconds."""

LINE = ef.linear_regression(ef.Dataset([[1.0], [1.0], [2.0], [3.0]], [1.0, 2.0, 3.0, 5.0]), delete=[0], l2=0.1)
PLANE = ef.linear_regression(ef.Dataset([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]], [1.0, 2.0, 0.0]), delete=[2])
ZERO, ONE, TS = np.zeros(1), ef.Constant(1.0), np.array([0.0, 0.5, 1.0])
TWO_OUTPUTS = ef.Predictions(LINE.model, np.array([[1.0], [2.0]]))
ALONG = {"ts": TS, "functional": TWO_OUTPUTS}
GUARANTEE = {"epsilon_dp": 1.0, "delta_dp": 1e-5}
DEEP = {"neurons": 8, "rtol": 1e-5}
Sizes = dict[str, int]

RESULTS: dict[str, tuple[Callable[[], Any], Sizes]] = {
    "Trajectory": (lambda: ef.gradient_flow(LINE, ONE, ZERO, ts=TS), {"t": 3, "parameter": 1}),
    "HomotopySurface": (
        lambda: ef.homotopy(LINE, theta0=ZERO, eps=np.array([0.0, 1.0]), ts=TS),
        {"eps": 2, "t": 3, "parameter": 1},
    ),
    "RewindSurface": (lambda: ef.rewind_surface(LINE, theta0=ZERO, s=TS, T=1.0), {"s": 3, "T": 1, "parameter": 1}),
    "Training": (
        lambda: ef.train_with(LINE, ONE, ZERO, optimiser=optax.sgd(0.01), steps=[1, 4]),
        {"step": 2, "each_step": 4, "parameter": 1},
    ),
    "Descent": (
        lambda: ef.Descent(np.array([0, 3]), np.zeros((5, 2, 1)), np.array(0.1), 2, SUCCESS),
        {"seed": 5, "step": 2, "parameter": 1},
    ),
    "Reconstruction": (
        lambda: ef.analysis.Reconstruction(np.arange(3), np.zeros((3, 1)), *np.zeros((3, 3)), -1, SUCCESS),
        {"back": 3, "parameter": 1},
    ),
    "Unlearning": (
        lambda: ef.descend_to_delete(LINE, np.ones(1), time=[0.0, 2.0]),
        {"amount": 2, "parameter": 1},
    ),
    "ResponsePath": (lambda: ef.response_path(LINE, eps=np.array([1.0, 0.5, 0.0])), {"eps": 3, "parameter": 1}),
    "ResponseJacobian": (lambda: ef.response_jacobian(LINE), {"parameter": 1, "deleted": 1}),
    "RetrainingAll": (lambda: ef.retrain_all(LINE), {"deletion": 4, "point": 1, "parameter": 1}),
    "Endpoints": (lambda: ef.endpoints(LINE), {"method": 9, "parameter": 1}),
    "Decomposition": (
        lambda: ef.decompose(LINE, ef.train(LINE).theta, damping=0.1),
        {"stage": 6, "deletion": 1, "parameter": 1, "point": 4, "start": 1},
    ),
    "InfluenceDensity": (
        lambda: ef.influence_density(LINE, ONE, ZERO, **ALONG),
        {"t": 3, "point": 4, "functional": 2, "parameter": 1},
    ),
    "CheckpointInfluence": (
        lambda: ef.checkpoint_influence(LINE, ONE, ZERO, **{**ALONG, "ts": TS[1:]}),
        {"t": 2, "point": 4, "functional": 2},
    ),
    "BayesianInfluence": (
        lambda: ef.bayesian_influence(LINE, functional=TWO_OUTPUTS, sampler="exact"),
        {"point": 4, "functional": 2},
    ),
    "PlateauFlow": (
        lambda: ef.plateau_flow([0.0, 1.0], time_scale=0.1, grid=9, **DEEP),
        {"t": 9, "degree": 2, "neuron": 8},
    ),
    "PlateauSlopes": (
        lambda: ef.attribution.plateau_slopes([0.0, 1.0], time_scales=[1e-1, 1e-2, 1e-3, 1e-4], **DEEP),
        {"time_scale": 4, "degree": 2, "interval": 3},
    ),
    "RemovalCurves": (
        lambda: ef.compare_attributions(LINE, ["newton"], groups=3, fractions=(0.0, 0.25)).curves,
        {"method": 1, "fraction": 2, "end": 2},
    ),
    "UnlearningCurve": (
        lambda: ef.unlearning_curve(LINE, ef.RewindToDelete(steps=200), amounts=[1, 5], **GUARANTEE),
        {"amount": 2},
    ),
    "ExactStarts": (
        lambda: ef.exact_starts(PLANE, longest=1.0, grid=3),
        {"sheet": 1, "last_time": 3, "first_time": 3, "parameter": 2},
    ),
}


def test_every_result_with_named_axes_is_tried():
    source = Path(ef.__file__).parent
    found = {name for file in source.rglob("*.py") for name in LABELLED.findall(file.read_text(encoding="utf-8"))}
    assert found == set(RESULTS)


@pytest.mark.parametrize("name", RESULTS)
def test_arrays_have_the_names_of_their_axes(name: str):
    make, sizes = RESULTS[name]
    result = make()
    data = result.to_xarray()
    assert type(result).__name__ == data.attrs["title"] == name
    assert dict(data.sizes) == sizes
    for array, (_, values) in result._arrays().items():
        np.testing.assert_array_equal(data[array], np.asarray(values))
    stored = xr.load_dataset(io.BytesIO(data.to_netcdf(engine="scipy")))  # a file holds all of it
    assert dict(stored.sizes) == sizes


def test_coordinates_choose_what_is_wanted():
    path = ef.gradient_flow(LINE, ONE, ZERO, ts=TS)
    data = path.to_xarray()
    np.testing.assert_array_equal(data["theta"].sel(t=0.5), path.thetas[1])
    assert data["theta"].dims == ("t", "parameter")
    assert data["eps"].dims == ("t",)
    assert data.attrs["method"] == "exact"
    assert data.attrs["source"] == f"epsflow {ef.__version__}"


def test_axes_that_may_be_missing_are_left_out():
    class Sweep(Labelled):
        def _arrays(self) -> dict[str, Axed]:
            return {"theta": ("seed? step parameter", np.zeros((2, 3))), "eps": ("step deleted?", np.zeros((2, 5)))}

    data = Sweep().to_xarray()
    assert data["theta"].dims == ("step", "parameter")
    assert data["eps"].dims == ("step", "deleted")


def test_without_xarray_the_extra_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "xarray", None)
    with pytest.raises(ef.InputError, match=r"to_xarray\(\) needs xarray.*pip install .*\[studies\]'"):
        ef.gradient_flow(LINE, ONE, ZERO, ts=TS).to_xarray()
