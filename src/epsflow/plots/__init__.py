"""What does it look like? Results come in, Matplotlib Axes go out; every figure can be drawn on Axes of your own.

Start in `_schedule.py`. `_style.py` holds the one look (colours that everyone can tell apart, dashes that survive
black-and-white print) and `save`; `_paths.py` says what is drawn of a result. Global settings are left alone.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
