"""All claims, in the order of the notes, and how to name some of them."""

import difflib
from collections.abc import Iterator, Sequence
from types import ModuleType

from .._core import InputError
from ._claim import Claim
from .sections import (
    _algorithms,
    _epsilon_dynamic,
    _experiments,
    _general_case,
    _gradient_descent,
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
)
"""One per section of the notes, in their order."""


def _claims(file: ModuleType) -> Iterator[Claim]:
    """The claims of a section, in the order in which they stand in its file."""
    return (value for value in vars(file).values() if isinstance(value, Claim))


CLAIMS: tuple[Claim, ...] = tuple(claim for file in FILES for claim in _claims(file))
"""Every statement of the notes that numbers can test."""

SECTIONS: tuple[str, ...] = tuple(dict.fromkeys(claim.section for claim in CLAIMS))


def choose(only: Sequence[str] | None = None, section: str | None = None) -> tuple[Claim, ...]:
    """The claims with the given ids, and of the sections whose heading contains the given words.

    Args:
        only: ids; None for all.
        section: part of a heading, in any case; None for all.

    Raises:
        InputError: an unknown id (the nearest is suggested) or heading, or no claim that is both.
    """
    by_id = {claim.id: claim for claim in CLAIMS}
    for name in only or ():
        if name not in by_id:
            near = difflib.get_close_matches(name, by_id, n=1, cutoff=0.0)
            raise InputError(f"unknown claim {name!r}; the nearest is {near[0]!r}. All ids: {', '.join(by_id)}.")
    if section is not None and not any(section.lower() in heading.lower() for heading in SECTIONS):
        raise InputError(f"no section of the notes is called {section!r}; they are: {'; '.join(SECTIONS)}.")
    chosen = tuple(
        claim
        for claim in CLAIMS
        if (only is None or claim.id in only) and (section is None or section.lower() in claim.section.lower())
    )
    if not chosen:
        raise InputError(f"no claim is among {', '.join(only or ())} and in a section called {section!r}.")
    return chosen
