"""What a transcription needs to know: ẋ = f(x, u) and a cost of the end, φ(x(T)).

Gradient flow under ε(t) is one such system (`RiskSystem`); textbook problems, by which the transcriptions are tested,
are others.
"""

import abc

import equinox as eqx
from jaxtyping import Float

from ..._core import Array
from ...problem import AbstractRisk
from ..terms._cost import AbstractCost, Distance

DENSE_NUMBERS = 2**26
"""Numbers that the interpolants of a diffrax solve may hold (0.5 GB each)."""


class AbstractSystem(eqx.Module):
    """min φ(x(T)) subject to ẋ = f(x, u), by the choice of u(t) within bounds.

    A pytree whose arrays are its numbers: it travels through `jit`, and its arrays become parameters of a CasADi
    program.
    """

    @property
    @abc.abstractmethod
    def dim(self) -> int:
        """Length of x."""

    @property
    @abc.abstractmethod
    def controls(self) -> int:
        """Length of u."""

    @abc.abstractmethod
    def field(self, x: Float[Array, " d"], u: Float[Array, " controls"]) -> Float[Array, " d"]:
        """f(x, u)."""

    @abc.abstractmethod
    def terminal(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """φ(x). Its gradient is where the costate starts: p(T) = ∇φ(x(T))."""


class RiskSystem(AbstractSystem):
    """f(θ, ε) = −∇R_ε(θ), and φ the cost of ending in θ.

    Attributes:
        risk: R_ε.
        target: where θ(T) should be, shape (d,).
        shared: whether one ε serves all deleted points.
        cost: of θ(T); ½‖θ − target‖² unless another is given.
    """

    risk: AbstractRisk
    target: Float[Array, " d"]
    shared: bool = eqx.field(static=True)
    cost: AbstractCost = Distance()

    @property
    def dim(self) -> int:
        """Number of parameters d."""
        return self.risk.dim

    @property
    def controls(self) -> int:
        """1, or one per deleted point."""
        return 1 if self.shared else self.risk.num_deleted

    def field(self, x: Float[Array, " d"], u: Float[Array, " controls"]) -> Float[Array, " d"]:
        """−∇R_u(x)."""
        return -self.risk.gradient(x, u[0] if self.shared else u)

    def terminal(self, x: Float[Array, " d"]) -> Float[Array, ""]:
        """The cost of x."""
        return self.cost.value(self.risk, x, self.target)
