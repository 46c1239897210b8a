"""What k of n says of a probability."""

import numpy as np
from jaxtyping import Float


def share_bounds(
    hits: float | int | Float[np.ndarray, "*shape"], trials: float | int, alpha: float
) -> tuple[Float[np.ndarray, "*shape"], Float[np.ndarray, "*shape"]]:
    """Clopper and Pearson's lower and upper bound on a probability, each wrong with probability at most α.

    Quantiles of Beta(k, n − k + 1) and Beta(k + 1, n − k); no p above or below 0 and n hits is rejected. Never of width
    zero: 0 of n says p ≤ 1 − α^{1/n} (C. J. Clopper and E. S. Pearson, Biometrika 26, 404, 1934).

    Args:
        hits: k, whole numbers or, for an effective number of trials, what lies between.
        trials: n.
        alpha: α of each bound.
    """
    from scipy.special import betaincinv  # not spent by `import epsflow`

    k = np.asarray(hits, dtype=np.float64)
    low = np.where(k > 0.0, betaincinv(np.maximum(k, 1e-300), trials - k + 1.0, alpha), 0.0)
    return low, np.where(k < trials, betaincinv(k + 1.0, np.maximum(trials - k, 1e-300), 1.0 - alpha), 1.0)
