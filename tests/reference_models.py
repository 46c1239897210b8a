"""Independent reference for models and regression diagnostics, in NumPy: derivatives by hand, deletions by refitting.

Risks are R(theta) = sum_i w_i l(f(theta; x_i), y_i) + l2/2 |theta|^2; w comes from `reference.data_weights`, with c.
"""

from collections.abc import Callable

import numpy as np

Array = np.ndarray


def sigmoid(a: Array) -> Array:
    """1 / (1 + e^{-a}) without overflow."""
    return 0.5 * (1.0 + np.tanh(0.5 * a))


def logistic_risk(theta: Array, X: Array, y: Array, weights: Array, l2: float = 0.0) -> float:
    """Loss l = log(1 + e^f) - y f, f = x.theta, y in {0, 1}."""
    f = X @ theta
    return float(weights @ (np.logaddexp(0.0, f) - y * f) + 0.5 * l2 * theta @ theta)


def logistic_gradient(theta: Array, X: Array, y: Array, weights: Array, l2: float = 0.0) -> Array:
    """sum_i w_i (sigmoid(f_i) - y_i) x_i + l2 theta."""
    return X.T @ (weights * (sigmoid(X @ theta) - y)) + l2 * theta


def logistic_hessian(theta: Array, X: Array, weights: Array, l2: float = 0.0) -> Array:
    """sum_i w_i sigmoid(f_i)(1 - sigmoid(f_i)) x_i x_i^T + l2 I."""
    p = sigmoid(X @ theta)
    return (X.T * (weights * p * (1.0 - p))) @ X + l2 * np.eye(len(theta))


def logistic_optimum(X: Array, y: Array, weights: Array, l2: float, theta0: Array | None = None) -> Array:
    """Newton's method with step halving until the gradient is at round-off; needs l2 > 0 or non-separable data."""
    theta = np.zeros(X.shape[1]) if theta0 is None else np.array(theta0, float)
    for _ in range(100):
        gradient = logistic_gradient(theta, X, y, weights, l2)
        if np.abs(gradient).max() <= 1e-14 * max(1.0, float(np.abs(weights) @ np.abs(X).max(axis=1))):
            return theta
        step, risk, size = (
            np.linalg.solve(logistic_hessian(theta, X, weights, l2), gradient),
            logistic_risk(theta, X, y, weights, l2),
            1.0,
        )
        # 1e-12: below it the decrease is round-off and the full Newton step is right.
        while logistic_risk(theta - size * step, X, y, weights, l2) > risk + 1e-12 * abs(risk) and size > 1e-8:
            size /= 2.0
        theta = theta - size * step
    raise RuntimeError("logistic_optimum did not converge in 100 Newton steps")


def mlp_unpack(theta: Array, width: int, inputs: int) -> tuple[Array, Array, Array, float]:
    """Flat parameters are (W1 by rows, b1, w2, b2): W1 (width, inputs), b1 (width,), w2 (width,), b2 scalar."""
    cut = width * inputs
    return theta[:cut].reshape(width, inputs), theta[cut : cut + width], theta[cut + width : cut + 2 * width], theta[-1]


def mlp_size(width: int, inputs: int) -> int:
    """Number of parameters of a one-hidden-layer network with one output."""
    return width * inputs + 2 * width + 1


def mlp_forward(theta: Array, X: Array, width: int) -> Array:
    """f(x) = w2.tanh(W1 x + b1) + b2; shape (n,)."""
    W1, b1, w2, b2 = mlp_unpack(theta, width, X.shape[1])
    return np.tanh(X @ W1.T + b1) @ w2 + b2


def mlp_risk(theta: Array, X: Array, y: Array, weights: Array, width: int, l2: float = 0.0) -> float:
    """Squared loss l = 1/2 (f - y)^2."""
    return float(0.5 * weights @ (mlp_forward(theta, X, width) - y) ** 2 + 0.5 * l2 * theta @ theta)


def mlp_gradient(theta: Array, X: Array, y: Array, weights: Array, width: int, l2: float = 0.0) -> Array:
    """Back-propagation by hand, h = tanh(W1 x + b1), e = w (f - y), g = e w2 (1 - h^2).

    dW1 = sum g x^T, db1 = sum g, dw2 = sum e h, db2 = sum e.
    """
    W1, b1, w2, b2 = mlp_unpack(theta, width, X.shape[1])
    h = np.tanh(X @ W1.T + b1)
    e = weights * (h @ w2 + b2 - y)
    g = e[:, None] * w2 * (1.0 - h**2)
    return np.concatenate([(g.T @ X).ravel(), g.sum(axis=0), h.T @ e, [e.sum()]]) + l2 * theta


def finite_difference_gradient(risk: Callable[[Array], float], theta: Array, h: float = 6e-6) -> Array:
    """Central differences; h is near (machine epsilon)^(1/3), so the error is about 1e-10 for risks of order one."""
    steps = h * np.eye(len(theta))
    return np.array([(risk(theta + v) - risk(theta - v)) / (2.0 * h) for v in steps])


def finite_difference_hessian(gradient: Callable[[Array], Array], theta: Array, h: float = 6e-6) -> Array:
    """Central differences of the gradient, symmetrised."""
    steps = h * np.eye(len(theta))
    H = np.array([(gradient(theta + v) - gradient(theta - v)) / (2.0 * h) for v in steps])
    return 0.5 * (H + H.T)


# --- ordinary least squares from the definitions ---


def ols(X: Array, y: Array) -> Array:
    """Minimiser of |X theta - y|^2."""
    return np.linalg.lstsq(X, y, rcond=None)[0]


def leverage(X: Array) -> Array:
    """Diagonal of the projection on the columns of X, by its definition d yhat_i / d y_i: fits to unit targets."""
    return np.einsum("ij,ji->i", X, np.linalg.lstsq(X, np.eye(len(X)), rcond=None)[0])


def leave_one_out(X: Array, y: Array) -> Array:
    """theta_{-j} for every j by refitting; shape (n, d)."""
    keep = ~np.eye(len(y), dtype=bool)
    return np.array([ols(X[row], y[row]) for row in keep])


def cooks_distance(X: Array, y: Array) -> Array:
    """|X (theta - theta_{-j})|^2 / (d s^2), s^2 = |y - X theta|^2 / (n - d), by refitting."""
    n, d = X.shape
    theta = ols(X, y)
    s2 = float(((y - X @ theta) ** 2).sum()) / (n - d)
    return (((theta - leave_one_out(X, y)) @ X.T) ** 2).sum(axis=1) / (d * s2)


def studentised_residuals(X: Array, y: Array) -> tuple[Array, Array]:
    """Internally e_j / (s sqrt(1 - h_j)) and externally studentised (s from the fit without j), by refitting."""
    n, d = X.shape
    e, h = y - X @ ols(X, y), leverage(X)
    keep = ~np.eye(n, dtype=bool)
    s_out = [
        np.sqrt(((y[row] - X[row] @ theta) ** 2).sum() / (n - 1 - d))
        for row, theta in zip(keep, leave_one_out(X, y), strict=True)
    ]
    return e / np.sqrt((e @ e) / (n - d) * (1.0 - h)), e / (np.array(s_out) * np.sqrt(1.0 - h))


def dffits(X: Array, y: Array) -> Array:
    """(yhat_j - x_j.theta_{-j}) / (s_{-j} sqrt(h_j)), by refitting."""
    theta, out, h = ols(X, y), leave_one_out(X, y), leverage(X)
    e = y - X @ theta
    s_out = e / (studentised_residuals(X, y)[1] * np.sqrt(1.0 - h))
    return np.einsum("ij,ij->i", X, theta - out) / (s_out * np.sqrt(h))
