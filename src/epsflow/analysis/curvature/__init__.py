"""Which matrix, and how to solve with it? θ and a kind come in; C + λ_d I and h = (C + λ_d I)⁻¹v with residuals go out.

Start in `_curvature.py` (the four matrices) and `_base.py` (what a solver factors once, and what it solves often).
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
