"""What every room stands on: errors, results, checks, linear algebra, provenance. Imports no room.

Start in `_errors.py` (how the library refuses) and `_linalg.py` (how linear flows are propagated).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
