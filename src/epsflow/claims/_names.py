"""The claims' ids by sections of the notes, in their order: a table of contents that loads nothing.

A wrong id is refused by it before anything is computed, or even imported; a test holds it against the claims.
"""

import difflib
from collections.abc import Sequence

from .._core import InputError

CONTENTS: dict[str, tuple[str, ...]] = {
    "Influence functions": ("if-closed-form", "loss-closed-form", "if-is-newton"),
    "Response functions": (
        *("response-taylor", "ggn-pd", "damped-linearisation", "bregman-nonneg"),
        *("pbrf-linearisation", "pbrf-removes-gaps", "fig1-largest"),
    ),
    "Influence functions vs leverage": (
        *("projection", "leverage-vs-Q", "gauss-newton-footnote", "leverage-loo"),
        *("ols-if-sign", "ols-pbrf"),
    ),
    "Reformulation of influence functions": (
        *("implicit-derivative", "q-derivatives", "newton-vs-if", "jacobian-column"),
    ),
    "Gradient Descent case": (
        *("flow-regularity", "flow-limit", "second-derivative-bound", "fig3-linearity", "rewind-limit"),
    ),
    "Epsilon dynamic": ("lrgf-closed-form", "lemma-0.0.1", "eps-scaling", "step-cost", "no-closed-form"),
    "Epsilon dynamic: step functions": (
        *("lemma-0.0.2", "trained-start", "example-identity", "theta0-or-y", "corollary-switch"),
    ),
    "Epsilon dynamic: linear functions": ("linear-decay-system",),
    "Epsilon dynamic: general case": (
        *("greedy-substitution", "greedy-example", "zero-is-best", "step-is-best", "bang-bang"),
    ),
    "Epsilon dynamic: numerical experiments": ("fig4-late", "fig4-faster", "fig4-zero", "fig4-linear"),
    "Algorithm implementations: D2D vs R2D": ("d2d-convex-only", "r2d-fewer-steps", "d2d-tighter"),
    "Other interesting things we might want to explore": (
        *("shapley-vs-influence", "importance-over-time", "influence-in-epochs"),
    ),
    "Published guarantees of unlearning": (
        *("d2d-theorem", "r2d-theorem", "noisy-sgd-factor", "clipped-noise-factor", "noise-level-typed"),
        *("power-iteration-bound", "logistic-third-derivative", "expected-distance", "ascent-approaches"),
        *("steps-to-flow",),
    ),
}

SECTIONS: tuple[str, ...] = tuple(CONTENTS)


def check_names(only: Sequence[str] | None = None, section: str | None = None) -> int:
    """How many claims have these ids and are in sections whose heading contains these words.

    Example:
        >>> ef.claims.check_names(["projection"])
        1
        >>> ef.claims.check_names(["projektion"])
        Traceback (most recent call last):
            ...
        epsflow.InputError: unknown claim 'projektion'; the nearest is 'projection'. All ids: …

    Args:
        only: ids; None for all.
        section: part of a heading, in any case; None for all.

    Raises:
        InputError: an unknown id (the nearest is suggested) or heading, or no claim that is both.
    """
    ids = [name for names in CONTENTS.values() for name in names]
    for name in only or ():
        if name not in ids:
            near = difflib.get_close_matches(name, ids, n=1, cutoff=0.0)
            raise InputError(f"unknown claim {name!r}; the nearest is {near[0]!r}. All ids: {', '.join(ids)}.")
    headings = [heading for heading in SECTIONS if section is None or section.lower() in heading.lower()]
    if not headings:
        raise InputError(f"no section of the notes is called {section!r}; they are: {'; '.join(SECTIONS)}.")
    chosen = [name for heading in headings for name in CONTENTS[heading] if only is None or name in only]
    if not chosen:
        raise InputError(f"no claim is among {', '.join(only or ())} and in a section called {section!r}.")
    return len(chosen)
