"""The floating types in which a problem can compute, and what each rounds."""

import jax.numpy as jnp
import numpy as np

from .._core import InputError, brief, require_x64
from ._dataset import Dataset
from ._models import AbstractModel, LinearModel
from ._rounded_products import RoundedProducts

DTYPES = ("float64", "float32", "bfloat16")
"""In which a problem can compute; "bfloat16" is float32 but for the operands of the model's products."""


def check_dtype(dtype: object, model: object) -> None:
    """Refuse a type that is none of `DTYPES`, or that JAX's mode or the model rules out."""
    as_dtype(dtype)
    if dtype != "float64" and isinstance(model, LinearModel):
        raise InputError(
            "linear models are computed by NumPy in float64, where their answers are exact and certified; leave dtype "
            'out. `train_with(..., dtype="float32")` trains them in single precision.'
        )


def check_width(data: Dataset, model: object) -> None:
    """Refuse data in float32 for a linear model, with how to widen them."""
    narrow = [name for name, part in (("x", data.x), ("y", data.y)) if part.dtype != np.float64]
    if not narrow or not isinstance(model, LinearModel):
        return
    name, mapped = narrow[0], isinstance(getattr(data, narrow[0]), np.memmap)
    remedy = (
        f'convert the file, some rows at a time: wide = numpy.lib.format.open_memmap("wide.npy", "w+", float, '
        f"{name}.shape); for k in range(0, len(wide), 65536): wide[k : k + 65536] = {name}[k : k + 65536]."
        if mapped
        else f"pass {name}.astype(float)."
    )
    raise InputError(
        f"{data.name}: {name} is {'a memory map in float32' if mapped else 'in float32'}, and linear models are "
        "answered in float64, to resolve the effect of a single point; the rounding of the data, 6e-8 of each number, "
        f"may be larger than that. If you have the numbers in float64, pass those; if you accept the rounding, {remedy}"
    )


def as_dtype(dtype: object) -> str:
    """One of `DTYPES`, in which JAX can compute now.

    Example:
        >>> ef.problem.as_dtype("bfloat16")
        'bfloat16'

    Raises:
        InputError: another; float64 while JAX is in 32-bit mode.
    """
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise InputError(f"dtype is {brief(dtype)}; choose 'float64', 'float32' or 'bfloat16'.")
    if dtype == "float64":
        require_x64()
    return dtype


def stored_in(dtype: str) -> str:
    """The type of the arrays: parameters, features, sums and an optimiser's state stay in float32 in "bfloat16".

    Example:
        >>> ef.problem.stored_in("bfloat16")
        'float32'
    """
    return "float32" if dtype == "bfloat16" else dtype


def unit_of(dtype: str) -> float:
    """The distance from 1 to the next number of the type in which products are rounded: 2⁻⁵², 2⁻²³ or 2⁻⁷.

    Example:
        >>> ef.problem.unit_of("bfloat16")
        0.0078125
    """
    return float(jnp.finfo(dtype).eps)


def computed(model: AbstractModel, dtype: str) -> AbstractModel:
    """The model as it is computed: with rounded products in "bfloat16", else itself.

    Example:
        >>> ef.problem.computed(ef.MLP((1, 1)), "bfloat16")
        RoundedProducts(...)
    """
    return RoundedProducts(model) if dtype == "bfloat16" else model
