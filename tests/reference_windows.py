"""Independent reference: φ(θ(T)) when the weight of one point is another in a window, by matrix exponentials.

NumPy and SciPy only. Weights may be complex, so that derivatives are taken by a complex step, without cancellation.
"""

import itertools

import numpy as np
from scipy.linalg import expm


def linear_end(x, y, weights, l2, theta0, durations):
    """θ(T) of θ' = −Σ w_i x_i(x_iᵀθ − y_i) − l2 θ with one row of weights (scale included) per duration."""
    state = np.append(theta0, 1.0).astype(complex)
    for row, duration in zip(weights, durations, strict=True):
        d = len(theta0)
        block = np.zeros((d + 1, d + 1), complex)
        block[:d, :d] = -(x.T * row) @ x - l2 * np.eye(d)
        block[:d, d] = x.T @ (row * y)
        state = expm(duration * block) @ state
    return state[:-1]


def window_weights(n, delete, edges, levels, scale, point, window, change):
    """Rows of weights on each interval between edges, where the point's weight changes inside the window."""
    rows = np.full((len(edges) - 1, n), scale, complex)
    for k, (left, right) in enumerate(itertools.pairwise(edges)):
        rows[k, delete] *= levels(0.5 * (left + right))
        if window[0] <= left and right <= window[1]:
            rows[k, point] += scale * change
    return rows
