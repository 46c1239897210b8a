"""The library's exceptions (input that cannot be used, computations that did not converge), and its warning."""

from typing import Any


class EpsflowError(Exception):
    """Base class of everything that epsflow raises on purpose.

    Example:
        >>> issubclass(ef.InputError, ef.EpsflowError)
        True
    """


class InputError(EpsflowError, ValueError):
    """The input cannot be used. The message says what was found, why it matters, and what to try.

    Example:
        >>> ef.Constant(float("nan"))
        Traceback (most recent call last):
            ...
        epsflow.InputError: Constant: the weight must be finite; got nan.
    """


class ConvergenceError(EpsflowError, RuntimeError):
    """A computation ended without reaching its tolerance.

    Example:
        >>> issubclass(ef.ConvergenceError, ef.EpsflowError)
        True

    Attributes:
        result: what had been computed when it stopped, with its status; the same object that `throw=False` returns.
    """

    def __init__(self, message: str, result: Any = None):
        super().__init__(message)
        self.result = result


class EpsflowWarning(UserWarning):
    """An answer is worth less than it looks: nearly collinear columns, a target that is known to few digits.

    Example:
        >>> import warnings
        >>> warnings.filterwarnings("ignore", category=ef.EpsflowWarning)
    """
