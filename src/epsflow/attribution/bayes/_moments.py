"""Covariances within chains, with Monte-Carlo errors by batch means.

A chain is divided into batches much longer than its memory; the mean of a batch then varies as the mean of so many
independent draws, which gives the error of any mean, and the effective number of draws, whatever the autocorrelation.
Covariances are taken within each chain, about its own means: drift between chains shows in R̂, not in them.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

MOST_BATCHES = 50

HELD = 2**25
"""Numbers (256 MB) in the covariances of one chain's batches that are kept; larger ones are computed again."""


class Moments(NamedTuple):
    """Of n losses ℓ and q values φ.

    Attributes:
        covariance: Cov(ℓ_i, φ_k), shape (n, q).
        error: Monte-Carlo standard error of each, shape (n, q).
        mean: E[φ], shape (q,).
        mean_error: its Monte-Carlo standard errors, shape (q,).
        ess: effective draws, of all chains together, of every ℓ, then of every φ, shape (n + q,).
        rhat: split-R̂ of the same, shape (n + q,).
    """

    covariance: Float[np.ndarray, "n q"]
    error: Float[np.ndarray, "n q"]
    mean: Float[np.ndarray, " q"]
    mean_error: Float[np.ndarray, " q"]
    ess: Float[np.ndarray, " c"]
    rhat: Float[np.ndarray, " c"]


Series = Callable[[Float[np.ndarray, "t d"]], tuple[Float[np.ndarray, "t n"], Float[np.ndarray, "t q"]]]
"""Losses and values of φ at several draws."""


def batch_counts(draws: int) -> tuple[int, int]:
    """Batches per chain, an even number, and draws in each; the first draws that fill no batch are left out."""
    count = max(4, min(MOST_BATCHES, int(np.sqrt(draws)))) // 2 * 2
    return count, draws // count


def within_chains(draws: Float[np.ndarray, "chains draws d"], series: Series) -> Moments:
    """Moments of ℓ and φ along chains."""
    chains, length, _ = draws.shape
    count, size = batch_counts(length)
    batches = draws[:, length - count * size :].reshape(chains, count, size, -1)
    sums, squares, products, scatter = [], [], [], []
    n, q = (part.shape[1] for part in series(batches[0, 0, :1]))
    held = n * q * count <= HELD
    for chain in batches:
        found = [_of_batch(series, batch, covariance=held) for batch in chain]
        means = np.array([one.mean for one in found])
        shifts = means - means.mean(axis=0)
        total, total_squares = 0.0, 0.0
        for batch, one, shift in zip(chain, found, shifts, strict=True):
            own = one.covariance if held else _of_batch(series, batch, covariance=True).covariance
            product = own + shift[:n, None] * shift[n:]  # about the chain's means
            total, total_squares = total + product, total_squares + product**2
        covariance = total / count
        products.append(covariance * (count * size / (count * size - 1.0)))
        scatter.append(np.maximum(total_squares / count - covariance**2, 0.0) * count / (count - 1.0))
        sums.append(means)
        squares.append([one.variance for one in found])
    between, inside = np.array(sums), np.array(squares)  # (chains, batches, n + q)
    batch_variance = between.var(axis=1, ddof=1).mean(axis=0)
    whole = (inside.mean(axis=1) + between.var(axis=1)).mean(axis=0)
    number = chains * count
    with np.errstate(divide="ignore", invalid="ignore"):
        ess = np.where(batch_variance > 0.0, number * whole / batch_variance, np.where(whole > 0.0, np.inf, np.nan))
    return Moments(
        covariance=np.mean(products, axis=0),
        error=np.sqrt(np.mean(scatter, axis=0) / number),
        mean=between[:, :, n:].mean(axis=(0, 1)),
        mean_error=np.sqrt(batch_variance[n:] / number),
        ess=ess,
        rhat=_split_rhat(between, inside, size),
    )


class _Batch(NamedTuple):
    """Of one batch: means and variances of ℓ, then of φ, and Cov(ℓ, φ) about its own means; None if not asked for."""

    mean: Float[np.ndarray, " c"]
    variance: Float[np.ndarray, " c"]
    covariance: Any


def _of_batch(series: Series, draws: Float[np.ndarray, "t d"], *, covariance: bool) -> _Batch:
    """Each series is gone through once for its mean, and once, centred, for all that is of second order."""
    means, centred = [], []
    for part in series(draws):
        means.append(part.mean(axis=0))
        centred.append(part - means[-1])
    variances = [np.einsum("tc,tc->c", part, part) / len(draws) for part in centred]
    losses, values = centred
    product = losses.T @ values / len(draws) if covariance else None
    return _Batch(np.concatenate(means), np.concatenate(variances), product)


def _split_rhat(means: np.ndarray, variances: np.ndarray, size: int) -> Float[np.ndarray, " c"]:
    """Split-R̂ from the means and variances of batches: every half of a chain is a chain (Gelman et al., BDA3)."""
    chains, count, columns = means.shape
    halves = means.reshape(chains * 2, count // 2, columns)
    length = count // 2 * size
    inside = variances.reshape(halves.shape).mean(axis=1) + halves.var(axis=1)
    within = inside.mean(axis=0) * length / (length - 1.0)
    between = halves.mean(axis=1).var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.sqrt((length - 1.0) / length + between / within)
    return np.where(within > 0.0, ratio, np.where(between > 0.0, np.inf, 1.0))
