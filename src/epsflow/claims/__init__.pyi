from ._claim import (
    Claim as Claim,
    Evidence as Evidence,
    Kind as Kind,
    Measurement as Measurement,
    Verdict as Verdict,
    claim as claim,
)
from ._ledger import Ledger as Ledger, verify as verify
from ._names import SECTIONS as SECTIONS, check_names as check_names
from ._registry import CLAIMS as CLAIMS, choose as choose
from ._report import foreign_page as foreign_page, write_report as write_report
from ._search import Candidate as Candidate, Search as Search, search as search
