"""Whether a model, a loss and data fit each other, by their shapes alone: nothing is computed."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from .._core import InputError, article, as_instance
from ._dataset import Dataset
from ._function_model import FunctionModel
from ._losses import AbstractLoss, formula_of
from ._models import AbstractModel, LinearModel
from ._precision import computed, stored_in
from ._purity import check_pure

DATASET = "write epsflow.load_dataset('diabetes'), epsflow.read_csv('file.csv') or epsflow.Dataset(x, y)"


def check_parts(model: object, loss: object, data: object) -> None:
    """Refuse what is no model, no loss or no data, each with what to write."""
    models = "write LinearModel(10), MLP((10, 16, 1)) or FunctionModel(apply, params)"
    losses = "write SquaredLoss(), LogisticLoss(), …; the order is Problem(model, loss, data)"
    as_instance(model, "model", AbstractModel, models)
    as_instance(loss, "loss", AbstractLoss, losses)
    as_instance(data, "data", Dataset, DATASET)


def check_model(model: AbstractModel, loss: AbstractLoss, data: Dataset, dtype: str) -> None:
    """Refuse a model that cannot read the features or is narrower, or a loss that cannot read the targets."""
    if isinstance(model, FunctionModel) and dtype == "float64" and model.start.dtype != np.float64:
        raise InputError(
            f"the model has parameters of dtype {model.start.dtype}, and the problem computes in float64. Write "
            'Problem(..., dtype="float32"), or FunctionModel(..., widen=True), which changes no number.'
        )
    if isinstance(model, LinearModel) and model.features == data.x.shape[1]:  # known without tracing it
        shape = () if model.outputs is None else (model.outputs,)
    else:
        shape = _output_shape(computed(model, dtype), data.x.shape[1], stored_in(dtype))
    loss.check(shape, data.y)
    if formula_of(loss).__module__ != AbstractLoss.__module__:
        _check_loss(loss, shape, data.y.shape[1:], stored_in(dtype))


def _output_shape(model: AbstractModel, features: int, dtype: str) -> tuple[int, ...]:
    theta, point = (jax.ShapeDtypeStruct((size,), np.dtype(dtype)) for size in (model.dim, features))
    trouble = f"cannot read a point with {features} features"
    output = _traced("the model", trouble, model, theta, point)
    if not isinstance(output, jax.ShapeDtypeStruct) or len(output.shape) > 1:
        what = f"shape {output.shape}" if isinstance(output, jax.ShapeDtypeStruct) else article(type(output).__name__)
        raise InputError(f"the model returns {what} for a point; a number or a vector is needed.")
    if output.dtype != dtype:
        raise InputError(
            f"the model returns {output.dtype} for parameters and a point in {dtype}: it computes in another precision "
            f"within. Leave its dtype open, or set it to {dtype}."
        )
    if isinstance(model, FunctionModel):
        check_pure(model, theta, point)
    return output.shape


def _check_loss(loss: AbstractLoss, output: tuple[int, ...], target: tuple[int, ...], dtype: str) -> None:
    """Refuse a loss of one's own that is no number, or that JAX cannot follow."""
    arguments = (jax.ShapeDtypeStruct(shape, np.dtype(dtype)) for shape in (output, target))
    value = _traced(type(loss).__name__, "cannot be computed for one point", loss, *arguments)
    if not isinstance(value, jax.ShapeDtypeStruct) or value.shape != ():
        what = f"shape {value.shape}" if isinstance(value, jax.ShapeDtypeStruct) else article(type(value).__name__)
        raise InputError(
            f"{type(loss).__name__} returns {what} for one point; a loss is one number: end it with jax.numpy.sum(...)."
        )


def _traced(what: str, trouble: str, function: Callable[..., Any], *arguments: jax.ShapeDtypeStruct) -> Any:
    """The shapes that a function of the user's returns.

    Raises:
        InputError: whatever it raises itself, in one line.
    """
    try:
        return jax.eval_shape(function, *arguments)
    except InputError:
        raise
    except jax.errors.JAXTypeError as error:
        raise InputError(
            f"{what} {trouble}: it leaves JAX ({str(error).splitlines()[0]}). Write it with jax.numpy, not numpy, "
            "and without `if` on values (jax.numpy.where)."
        ) from error
    except Exception as error:  # it is not our code
        raise InputError(f"{what} {trouble}: {(str(error) or type(error).__name__).splitlines()[0]}") from error
