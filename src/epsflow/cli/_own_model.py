"""A model of the user's, named on the command line as module:function."""

import importlib
import inspect
import os
import sys
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from .._core import InputError, brief
from ..problem import (
    AbstractLoss,
    AbstractModel,
    Dataset,
    FunctionModel,
    LogisticLoss,
    SoftmaxCrossEntropy,
    SquaredLoss,
)


def own_model(name: str, data: Dataset, classes: int) -> tuple[AbstractModel, AbstractLoss]:
    """What the function returns for these data, and a loss.

    The function has the data set as its argument, or none. It returns a model: one of epsflow's, or a module of Equinox
    or `flax.nnx`; or a pair (model, loss). Without a loss it is the cross-entropy where the target is a class label
    (logistic for one output, softmax for several) and the squared loss where it is a number.

    Args:
        name: module:function; the working directory is searched first.
        data: what is trained on.
        classes: how many classes there are; 0 for a number as target.

    Raises:
        InputError: in one line, what is wrong with the name, the module, the function or what it returned.
    """
    made = _made(name, _function(name), data)
    pair = isinstance(made, tuple) and len(made) == 2
    model, loss = made if pair else (made, None)
    if not isinstance(model, AbstractModel):
        try:
            model = FunctionModel(model)
        except InputError as error:
            raise InputError(
                f"--model {name} returned {brief(made)}; a model is needed, or a pair (model, loss): {error}"
            ) from error
    if loss is None:
        return model, _usual_loss(model, data, classes)
    if not isinstance(loss, AbstractLoss):
        raise InputError(f"--model {name} returned {brief(loss)} as its loss; write epsflow.SquaredLoss(), for one.")
    return model, loss


def _function(name: str) -> Callable[..., Any]:
    module, _, attribute = name.partition(":")
    here = os.getcwd()
    sys.path.insert(0, here)
    try:
        loaded = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and (module == error.name or module.startswith(f"{error.name}.")):
            raise InputError(
                f"--model {name}: there is no module {error.name!r} in this directory or among the installed ones."
            ) from error
        raise InputError(f"--model {name}: {module} needs {error.name}, which is not installed.") from error
    except Exception as error:  # it is not our code
        raise InputError(f"--model {name}: {module} cannot be imported: {_in_words(error)}") from error
    finally:
        sys.path.remove(here)
    function = getattr(loaded, attribute, None)
    if not callable(function):
        known = "is not callable" if hasattr(loaded, attribute) else "does not exist"
        raise InputError(f"--model {name}: {attribute} {known} in {module}; name a function that returns a model.")
    return function


def _made(name: str, function: Callable[..., Any], data: Dataset) -> Any:
    try:
        wants_data = bool(inspect.signature(function).parameters)
    except ValueError:  # built in
        wants_data = True
    try:
        return function(data) if wants_data else function()
    except Exception as error:  # it is not our code
        raise InputError(f"--model {name} failed: {_in_words(error)}") from error


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error) or 'no message'}".splitlines()[0]


def _usual_loss(model: AbstractModel, data: Dataset, classes: int) -> AbstractLoss:
    if not classes:
        return SquaredLoss()
    arguments = (jax.ShapeDtypeStruct((size,), jnp.float64) for size in (model.dim, data.x.shape[1]))
    try:
        output = jax.eval_shape(lambda theta, x: model(theta, x), *arguments)
    except Exception:  # which `Problem` says in its own words
        return SoftmaxCrossEntropy()
    return LogisticLoss() if getattr(output, "shape", None) == () else SoftmaxCrossEntropy()
