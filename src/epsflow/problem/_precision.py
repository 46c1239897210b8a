"""The floating types in which a problem can compute."""

from .._core import InputError, brief, require_x64
from ._models import LinearModel

DTYPES = ("float64", "float32")
"""In which a problem can compute."""


def check_dtype(dtype: object, model: object) -> None:
    """Refuse a type that is none of `DTYPES`, or that JAX's mode or the model rules out."""
    if dtype not in DTYPES:
        raise InputError(f"dtype is {brief(dtype)}; choose 'float64' or 'float32'.")
    if dtype == "float64":
        require_x64()
    elif isinstance(model, LinearModel):
        raise InputError(
            "linear models are computed by NumPy in float64, where their answers are exact and certified; leave dtype "
            'out. `train_with(..., dtype="float32")` trains them in single precision.'
        )
