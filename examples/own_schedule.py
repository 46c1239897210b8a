"""A schedule family of your own: a plateau, ε = level until t₁, then 0. Is less weight for longer better?"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial

import epsflow as ef

jax.config.update("jax_enable_x64", True)


class Plateau(ef.AbstractPiecewiseConstant):
    """1 until s, `level` until t1, then 0."""

    s: jax.Array
    t1: jax.Array
    level: jax.Array

    @property
    def start(self) -> jax.Array:
        return self.s

    @property
    def end(self) -> jax.Array:
        return self.t1

    def inner(self, t: jax.Array) -> jax.Array:
        return jnp.broadcast_to(self.level, t.shape)

    @property
    def jump_ts(self) -> jax.Array:
        return jnp.stack([self.s, self.t1])

    def levels(self) -> jax.Array:
        return jnp.stack([jnp.ones(()), self.level, jnp.zeros(())])

    # What makes it a family: the numbers that pick a member, their ranges, and how one is built from them.
    @classmethod
    def search_space(cls, s: float, T: float) -> ef.SearchSpace:
        return ef.SearchSpace(("t₁", "level"), (s, 0.0), (T, 1.0), (False, False), Partial(cls._member, jnp.asarray(s)))

    @classmethod
    def _member(cls, s: jax.Array, numbers: jax.Array) -> "Plateau":
        return cls(s, numbers[0], numbers[1])


problem = ef.linear_regression(ef.load_dataset("diabetes"), [382], reduction="mean")
families = (ef.Step, Plateau)
comparison = ef.compare_schedules(problem, np.zeros(problem.dim), s=50.0, T=200.0, families=families)
for row in comparison.rows():
    numbers = ", ".join(f"{name} = {value:.4g}" for name, value in row["parameters"].items())
    print(f"{row['family']:12}  cost {row['cost']:.6e}  ratio {row['ratio']:.4f}  {numbers}")
