"""Where does training end without some points? A problem comes in; θ(0), and estimates of it with certificates, go out.

Every estimator answers one question, the *predicted change upon removal* θ(0) − θ(1). Start in `_retrain.py`, the
ground truth, and compare the others with it; `endpoints` lays them side by side.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
