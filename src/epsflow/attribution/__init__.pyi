from ._deep_linear import mode_strengths as mode_strengths
