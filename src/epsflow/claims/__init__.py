"""Is the lemma true? The statements of the notes come in as `Claim`s; `verify` gives a `Ledger` of `Verdict`s.

`sections/` has one file per section of the notes; a claim there stands as a decorator on its check. `_claim.py` says
what evidence is and which verdict follows from it, `_search.py` looks for counterexamples, `_report.py` writes a ledger
as HTML and Markdown. Start in `_ledger.py`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
