"""Which model a command trains: what options mean, models of the user's, a schedule for labels beside a plain loop."""

import csv
import json

import equinox as eqx
import jax
import numpy as np
import pytest
from scipy.special import expit

import epsflow as ef
from epsflow.cli._inputs import Architecture, Moves, Source, read_material
from epsflow.cli._models import problem_of
from epsflow.cli._own_model import own_model

S, T, ETA, POINT = 3, 6, 0.5, 7


@pytest.fixture(scope="module")
def labels_csv(tmp_path_factory):
    """Twenty points whose label is a word."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((20, 4))
    words = np.where(x[:, 0] + rng.standard_normal(20) > 0.0, "yes", "no")
    path = tmp_path_factory.mktemp("labels") / "labels.csv"
    rows = [",".join([*map(repr, row), word]) for row, word in zip(x.tolist(), words, strict=True)]
    path.write_text("\n".join(["a,b,c,d,answer", *rows]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def optimised(command, labels_csv, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "out"
    window = ("--s", S, "-T", T, "--step-size", ETA, "--delete", POINT, "--out", folder)
    return command("optimise", "--csv", labels_csv, "--model", "logistic", *window), folder


def descended(x, y, weights):
    """Steps of gradient descent on the mean logistic risk with λ = 1/n, from zero, in plain NumPy."""
    n = len(y)
    thetas = [np.zeros(x.shape[1])]
    for eps in weights:
        theta, w = thetas[-1], np.ones(n)
        w[POINT] = eps
        thetas.append(theta - ETA * (x.T @ (w * (expit(x @ theta) - y)) + theta) / n)
    return np.array(thetas)


def test_a_schedule_for_labels_is_local_and_costs_what_a_plain_loop_says(optimised, labels_csv):
    ran, folder = optimised
    assert ran.status == 0, ran.err
    assert "logistic regression by 6 steps of sgd with η = 0.5 on all points, from a zero start" in ran.out
    assert ", local" in ran.out
    data = ef.read_csv(labels_csv, labels=True)
    goal = descended(data.x, data.y, np.zeros(T))[-1]
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert (found["problem"]["classes"], found["task"]["motion"]) == (["no", "yes"], "sgd")
    # Six steps of twenty terms: rounding of θ, twice in the square of a difference of about 1e-2.
    base = descended(data.x, data.y, [1.0] * S + [0.0] * (T - S))[-1]
    np.testing.assert_allclose(found["schedules"][0]["cost"], 0.5 * np.sum((base - goal) ** 2), rtol=1e-11)
    with (folder / "schedule.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    weights = [float(row["eps"]) for row in rows]
    assert weights[:S] == [1.0] * S
    assert [row["switching"] == "" for row in rows] == [True] * S + [False] * (T - S)
    path = np.linalg.norm(descended(data.x, data.y, weights)[1:] - goal, axis=1)
    np.testing.assert_allclose([float(row["distance"]) for row in rows], path, rtol=1e-11, atol=1e-15)
    np.testing.assert_allclose(found["optimum"]["cost"], 0.5 * path[-1] ** 2, rtol=1e-11)


def posed(source, **asked):
    material = read_material(source, Architecture(**asked))
    return problem_of(source, Architecture(**asked), material, [0])


@pytest.mark.parametrize(
    ("data", "asked", "model", "loss"),
    [
        ("breast_cancer", {}, ef.LinearModel(30), ef.LogisticLoss),
        ("breast_cancer", {"model": "softmax"}, ef.LinearModel(30, 2), ef.SoftmaxCrossEntropy),
        ("iris", {}, ef.LinearModel(4, 3), ef.SoftmaxCrossEntropy),
        ("iris", {"model": "mlp", "hidden": [5, 2]}, ef.MLP((4, 5, 2, 3)), ef.SoftmaxCrossEntropy),
        ("iris", {"model": "cnn", "channels": [2]}, ef.CNN((2, 2), (2,), (3,)), ef.SoftmaxCrossEntropy),
        ("digits", {"model": "cnn"}, ef.CNN((8, 8), (4,), (10,)), ef.SoftmaxCrossEntropy),
        ("digits", {"model": "cnn", "image": "1x4x16", "hidden": [3]}, ef.CNN((4, 16), (4,), (3, 10)), None),
        ("diabetes", {"model": "mlp"}, ef.MLP((10, 8, 1)), ef.SquaredLoss),
    ],
)
def test_a_name_is_a_model(data, asked, model, loss):
    problem = posed(Source(data=data), **asked)
    assert problem.model == model
    assert loss is None or type(problem.loss) is loss
    usual = 0.03 if asked.get("model") in ("mlp", "cnn") else 1.0 / problem.data.n
    assert problem.l2 == pytest.approx(usual, rel=1e-15)


def test_a_file_has_labels_where_the_model_wants_them_or_the_user_says_so(labels_csv):
    source = Source(csv=labels_csv)
    for asked in ({"model": "softmax"}, {"model": "cnn"}, {"labels": True}, {"model": "mlp", "labels": True}):
        assert posed(source, **asked).data.classes == ("no", "yes")
    with pytest.raises(ef.InputError, match="is not a number"):
        read_material(source, Architecture(model="mlp"))


MODULE = """
import equinox as eqx, jax, epsflow as ef
def network(data):
    return eqx.nn.MLP(data.x.shape[1], "scalar", 2, 1, key=jax.random.key(0))
def pair():
    return ef.LinearModel(3), ef.PseudoHuberLoss(0.5)
def loss_of_words():
    return ef.LinearModel(3), "squared"
def fails(data):
    raise ValueError("no luck\\ntoday")
def number():
    return 3
constant = 1
"""


@pytest.fixture
def my_models(tmp_path, monkeypatch):
    (tmp_path / "my_epsflow_models.py").write_text(MODULE)
    (tmp_path / "my_broken_models.py").write_text("import not_installed_anywhere")
    (tmp_path / "my_raising_models.py").write_text("1 / 0")
    monkeypatch.chdir(tmp_path)


DATA = ef.Dataset(np.eye(4, 3), np.array([0.0, 1.0, 0.0, 1.0]))


@pytest.mark.usefixtures("my_models")
def test_a_function_of_the_user_s_returns_a_model_and_perhaps_a_loss():
    model, loss = own_model("my_epsflow_models:network", DATA, 2)
    module = eqx.nn.MLP(3, "scalar", 2, 1, key=jax.random.key(0))
    np.testing.assert_array_equal(model(model.start, DATA.x[0]), module(DATA.x[0]))
    assert isinstance(loss, ef.LogisticLoss)
    assert isinstance(own_model("my_epsflow_models:network", DATA, 0)[1], ef.SquaredLoss)
    assert own_model("my_epsflow_models:pair", DATA, 2) == (ef.LinearModel(3), ef.PseudoHuberLoss(0.5))


@pytest.mark.usefixtures("my_models")
@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("nowhere_at_all:f", "there is no module 'nowhere_at_all' in this directory"),
        ("my_broken_models:f", "my_broken_models needs not_installed_anywhere, which is not installed"),
        ("my_raising_models:f", "my_raising_models cannot be imported: ZeroDivisionError"),
        ("my_epsflow_models:nothing", "nothing does not exist in my_epsflow_models"),
        ("my_epsflow_models:constant", "constant is not callable"),
        ("my_epsflow_models:fails", "failed: ValueError: no luck$"),
        ("my_epsflow_models:number", r"returned 3; a model is needed, or a pair \(model, loss\)"),
        ("my_epsflow_models:loss_of_words", "returned 'squared' as its loss"),
    ],
)
def test_what_is_no_model_of_the_user_s_is_refused_in_a_line(name, words):
    with pytest.raises(ef.InputError, match=words):
        own_model(name, DATA, 2)


def test_why_nothing_does_better_where_no_batch_holds_the_point(command, labels_csv):
    drawn = np.random.default_rng([0, 0, 0]).permutation(20)[: 2 * T]  # the first epoch of seed 0
    point = np.setdiff1d(np.arange(20), drawn)[0]
    asked = ("--csv", labels_csv, "--model", "logistic", "--s", S, "-T", T, "--batch", 2, "--delete", point)
    ran = command("compare", *asked, "--quiet")
    assert ran.status == 0, ran.err
    assert (
        f"(𝓔 = 0): no batch contains the deleted points until T = {T}, so ε changes nothing: take more steps" in ran.out
    )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--model", "a:b:c"), "A model of yours is module:function"),
        (("--data", "digits", "--model", "cnn", "--image", "8by8"), "'8by8' is no image"),
        (("--data", "digits", "--model", "cnn", "--image", "8x9"), "--image 8x9 has 72 pixels, but digits has 64"),
        (("--data", "breast_cancer", "--model", "cnn"), "30 features are no square image"),
        (("--data", "digits", "--image", "8x8"), "--channels and --image describe a CNN"),
        (("--data", "digits", "--labels"), "--labels describes a file"),
        (("--data", "digits", "--model", "mlp", "--intercept"), "a network has biases of its own"),
        (("--data", "digits", "--model", "mlp", "--start", "zero"), "all neurons of a network"),
        (("--batch", "8"), "--step-size and --batch belong to an optimiser"),
        (("--data", "digits", "--step-size", "0"), "step_size is 0"),
        (("--data", "digits", "--s", "2.5"), "s = 2.5 is no whole number"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_line(command, options, words):
    ran = command("compare", *options)
    assert (ran.status, ran.out) == (2, "")
    assert words in ran.err
    assert ran.err.count("\n") == 1


def test_only_linear_regression_flows_unless_the_user_says_so():
    assert [Moves().of(kind) for kind in ("linear", "logistic", "own")] == ["flow", "sgd", "sgd"]
    assert Moves(optimiser="flow").of("mlp") == "flow"


@pytest.mark.slow
@pytest.mark.parametrize("model", ["softmax", "mlp", "cnn"])
def test_digits(command, model):
    ran = command("optimise", "--data", "digits", "--model", model, "--json")
    assert ran.status == 0
    assert ran.json["optimum"]["scope"] == "local"
    best = min(row["cost"] for row in ran.json["schedules"])
    assert ran.json["optimum"]["cost"] <= best * (1.0 + 1e-9)
