"""What does it look like? Results come in, Matplotlib Axes go out; every figure can be drawn on Axes of your own.

Start in `_schedule.py`. `_style.py` holds the one look (colours that everyone can tell apart, dashes that survive
black-and-white print) and `save`; `_paths.py` says what is drawn of a result. Global settings are left alone.
"""

from ._analysis import decomposition as decomposition, endpoints as endpoints
from ._homotopy import homotopy as homotopy, rewind as rewind
from ._phase import phase_portrait as phase_portrait
from ._schedule import schedule as schedule
from ._starts import exact_starts as exact_starts
from ._studies import bands as bands, distributions as distributions, intervals as intervals
from ._style import panels as panels, save as save
from ._trajectory import distance as distance
