"""Is the lemma true? The statements of the notes come in as `Claim`s; `verify` gives a `Ledger` of `Verdict`s.

One file per section of the notes holds its claims and their checks; `_claim.py` says what evidence is and which verdict
follows from it, `_search.py` looks for counterexamples, `_report.py` writes a ledger as HTML and Markdown.
Start in `_ledger.py`.
"""

from ._claim import Claim as Claim, Evidence as Evidence, Kind as Kind, Measurement as Measurement, Verdict as Verdict
from ._ledger import Ledger as Ledger, verify as verify
from ._registry import CLAIMS as CLAIMS, SECTIONS as SECTIONS, choose as choose
from ._report import write_report as write_report
from ._search import Candidate as Candidate, Search as Search, search as search
