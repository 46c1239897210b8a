"""Every loss and every activation that ships has words in CasADi, or "auto" goes to the adjoint route by itself."""

import jax.numpy as jnp
import numpy as np
import pytest

import epsflow as ef
from epsflow.control import _mesh
from epsflow.control.programs._primitives import UntranslatableError
from epsflow.control.programs._transcription import take_apart, translated_field, translated_terminal
from epsflow.control.systems._system import RiskSystem
from epsflow.control.terms._cost import Distance
from epsflow.control.terms._deadline import UNLIMITED
from epsflow.control.terms._window import MeshWindow
from epsflow.problem import AbstractLoss, WeightedLoss
from epsflow.problem._models import _ACTIVATIONS

TARGETS = {
    ef.SquaredLoss: (1, np.linspace(-1.0, 1.0, 6)),
    ef.PseudoHuberLoss: (1, np.linspace(-1.0, 1.0, 6)),
    ef.LogisticLoss: (1, np.array([0.0, 1.0, 0.0, 1.0, 1.0, 0.0])),
    ef.SoftmaxCrossEntropy: (3, np.array([0.0, 1.0, 2.0, 1.0, 0.0, 2.0])),
}
"""How many outputs a loss takes, and targets that it knows."""


def system(loss, activation, *, weighted):
    outputs, y = TARGETS[loss]
    model = ef.MLP((2, 2, outputs), activation=activation)
    x = np.random.default_rng(0).standard_normal((6, 2))
    weights = {"sample_weight": np.arange(6.0)} if weighted else {}
    problem = ef.Problem(model, loss(), ef.Dataset(x, y), [3], l2=0.1, **weights)
    return RiskSystem(problem.risk, jnp.zeros(problem.dim), True, Distance())


def test_no_loss_is_left_out():
    # Claims have losses of their own, which are there once their room is loaded.
    shipped = {loss for loss in AbstractLoss.__subclasses__() if loss.__module__.startswith("epsflow.problem.")}
    assert shipped == {WeightedLoss, *TARGETS}


CASES = [(loss, "tanh", False) for loss in TARGETS]
CASES += [(ef.SquaredLoss, name, False) for name in _ACTIVATIONS if name != "tanh"]
CASES += [(loss, "tanh", True) for loss in (ef.SquaredLoss, ef.SoftmaxCrossEntropy)]


@pytest.mark.parametrize(("loss", "activation", "weighted"), CASES, ids=lambda part: getattr(part, "__name__", part))
def test_it_is_translated_and_checked_or_left_to_the_adjoint_route(loss, activation, weighted):
    """A translation is held against JAX at random points, to 1e-12, whenever it is made."""
    asked = system(loss, activation, weighted=weighted)
    structure, _ = take_apart(asked)
    try:
        translated_field(structure)
        translated_terminal(structure)
    except UntranslatableError:
        window = MeshWindow(1.0, (0.0, 1.0), 1.0)
        setting = _mesh.Setting(asked, jnp.full(asked.dim, 0.1), 0.0, window, UNLIMITED)
        assert _mesh.choose_method(setting, 10) is ef.SearchMethod.ADJOINT
