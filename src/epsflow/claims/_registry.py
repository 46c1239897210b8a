"""All claims, in the order of the notes, and how to name some of them."""

from collections.abc import Iterator, Sequence
from types import ModuleType

from ._claim import Claim
from ._names import check_names
from .sections import (
    _algorithms,
    _epsilon_dynamic,
    _experiments,
    _exploration,
    _general_case,
    _gradient_descent,
    _guarantees,
    _influence_functions,
    _leverage,
    _linear_functions,
    _reformulation,
    _response_functions,
    _step_functions,
)

FILES = (
    _influence_functions,
    _response_functions,
    _leverage,
    _reformulation,
    _gradient_descent,
    _epsilon_dynamic,
    _step_functions,
    _linear_functions,
    _general_case,
    _experiments,
    _algorithms,
    _exploration,
    _guarantees,
)
"""One per section of the notes, in their order, and one of what they cite."""


def _claims(file: ModuleType) -> Iterator[Claim]:
    """The claims of a section, in the order in which they stand in its file."""
    return (value for value in vars(file).values() if isinstance(value, Claim))


CLAIMS: tuple[Claim, ...] = tuple(claim for file in FILES for claim in _claims(file))
"""Every statement of the notes that numbers can test."""


def choose(only: Sequence[str] | None = None, section: str | None = None) -> tuple[Claim, ...]:
    """The claims with the given ids, and of the sections whose heading contains the given words.

    Example:
        >>> ef.claims.choose(["projection"])[0].id
        'projection'

    Args:
        only: ids; None for all.
        section: part of a heading, in any case; None for all.

    Raises:
        InputError: an unknown id (the nearest is suggested) or heading, or no claim that is both.
    """
    check_names(only, section)
    return tuple(
        claim
        for claim in CLAIMS
        if (only is None or claim.id in only) and (section is None or section.lower() in claim.section.lower())
    )
