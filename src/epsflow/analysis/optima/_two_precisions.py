"""Answers of a problem in float32: what is multiplied often is in float32, what an answer is judged by in float64.

A minimisation takes some gradients and many Hessian products, a linear solve some residuals and many products. With the
former in float64, tolerances and certificates mean what they mean in float64; the latter only say where to go next. Of
solves by products this is iterative refinement (Moler 1967; Higham, "Accuracy and Stability of Numerical Algorithms",
2002, chapter 12), of Newton's method its inexact form.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import jax

from ..._core import InputError
from ...problem import Problem


@contextmanager
def in_float64(problem: Problem) -> Iterator[Problem]:
    """The same problem in float64, and JAX in its 64-bit mode while this lasts; nothing changes for one in float64.

    Raises:
        InputError: a problem in bfloat16.
    """
    if problem.dtype == "float64":
        yield problem
        return
    if problem.dtype != "float32":
        raise InputError(
            f"problem computes in {problem.dtype}, and this answer has its Hessian products in float32 or float64: the "
            "directions that only damping determines are lost in products rounded to 2⁻⁹. Write "
            "problem.with_dtype('float32')."
        )
    with jax.enable_x64(True):
        yield problem.with_dtype("float64")
