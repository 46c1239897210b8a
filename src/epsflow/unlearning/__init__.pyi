from ._gaussian import (
    gaussian_delta as gaussian_delta,
    gaussian_epsilon as gaussian_epsilon,
    gaussian_r as gaussian_r,
    trade_off as trade_off,
)
from ._renyi import rdp_to_dp as rdp_to_dp
