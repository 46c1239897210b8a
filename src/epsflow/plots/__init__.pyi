from ._analysis import decomposition as decomposition, endpoints as endpoints
from ._animation import animate as animate
from ._homotopy import homotopy as homotopy, rewind as rewind
from ._phase import phase_portrait as phase_portrait
from ._response import losses as losses, response as response
from ._schedule import schedule as schedule
from ._starts import exact_starts as exact_starts
from ._studies import (
    bands as bands,
    distributions as distributions,
    grouped_intervals as grouped_intervals,
    intervals as intervals,
)
from ._style import panels as panels, save as save, style as style, to_svg as to_svg
from ._training import (
    influence as influence,
    plateau_slopes as plateau_slopes,
    plateaus as plateaus,
    stagewise as stagewise,
)
from ._trajectory import distance as distance
from ._unlearning import audit as audit, guarantees as guarantees, unlearning_curve as unlearning_curve
from ._values import (
    attributions as attributions,
    point_values as point_values,
    removal as removal,
    soft_weights as soft_weights,
)
