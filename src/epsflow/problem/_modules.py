"""Modules of Equinox and Flax, taken apart: the arrays to be trained, and a function that puts them back.

Flax is not imported here: whoever has one of its modules has imported it.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import equinox as eqx
import jax

from .._core import Array, InputError, brief

_FROZEN = (
    "Its output for a point may then depend on other points, on earlier calls or on chance, and the risk would be no "
    "sum over points that ε(t) could weigh. Take a layer without (GroupNorm or LayerNorm in place of BatchNorm), or "
    "freeze=True, which holds all of it as it is in inference."
)


class Parts(NamedTuple):
    """A model, taken apart.

    Attributes:
        params: the pytree of arrays to be trained.
        whole: from such a pytree to what the model was made with: the module, or the pytree itself.
        apply: from that and one point to the output.
    """

    params: Any
    whole: Callable[[Any], Any]
    apply: Callable[[Any, Array], Any]


def take_apart(model: Any, params: Any, freeze: bool) -> Parts:
    """An Equinox or Flax module, with what goes with it, or a function apply(params, x) and its parameters.

    Raises:
        InputError: something else; buffers or dropout that are not frozen; parameters that are missing.
    """
    linen, nnx = sys.modules.get("flax.linen"), sys.modules.get("flax.nnx")
    called: Any = model.func if isinstance(model, partial) else model
    owner: Any = getattr(called, "__self__", None)
    if nnx is not None and isinstance(model, nnx.Module):
        return _of_nnx(nnx, model, params, freeze)
    if linen is not None and isinstance(called, linen.Module):
        return _of_linen(called, called.apply, params, freeze)
    if linen is not None and isinstance(owner, linen.Module) and callable(model):
        return _of_linen(owner, model, params, freeze)
    if isinstance(model, eqx.Module) and (params is None or isinstance(params, eqx.nn.State)):
        return _of_equinox(model, params, freeze)
    if not callable(model) or isinstance(model, type):
        raise InputError(
            f"FunctionModel: `apply` is {brief(model)}; a function apply(params, x) is needed, or a module of Equinox "
            "or Flax."
        )
    if params is None:
        raise InputError("FunctionModel: `params` is missing; a function apply(params, x) needs its parameters.")
    if isinstance(params, eqx.Module):
        trained, rest = eqx.partition(params, eqx.is_inexact_array)
        return Parts(trained, _Combined(rest), model)
    return Parts(params, _itself, model)


def _itself(params: Any) -> Any:
    return params


class _Combined:
    """Parameters and the rest of an Equinox module as one; equal where the rest is, so that compiled code is shared."""

    def __init__(self, rest: Any):
        self.rest = rest
        self.leaves, self.structure = jax.tree.flatten(rest)

    def __call__(self, params: Any) -> Any:
        return eqx.combine(params, self.rest)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, _Combined) or self.structure != other.structure:
            return False
        pairs = zip(self.leaves, other.leaves, strict=True)
        return all(a is b or (not eqx.is_array(a) and not eqx.is_array(b) and bool(a == b)) for a, b in pairs)

    def __hash__(self) -> int:
        return hash(self.structure)


def _of_equinox(module: Any, state: Any, freeze: bool) -> Parts:
    """Every inexact array is trained; batch statistics live in a `State` beside the module."""
    kinds = (eqx.nn.StateIndex, eqx.nn.Dropout)
    nodes = jax.tree.leaves(module, is_leaf=lambda node: isinstance(node, kinds))
    kept = any(isinstance(node, eqx.nn.StateIndex) for node in nodes)
    chance = any(isinstance(node, eqx.nn.Dropout) and not node.inference and node.p != 0 for node in nodes)
    if (kept or chance) and not freeze:
        what = "keeps a state, such as BatchNorm's statistics" if kept else "has dropout"
        raise InputError(f"FunctionModel: the module {what}. {_FROZEN}")
    if kept and state is None:
        raise InputError(
            "FunctionModel: the module keeps a state, which is not in it: write FunctionModel(module, state, "
            "freeze=True) with both parts of equinox.nn.make_with_state."
        )
    if not callable(module):
        raise InputError(f"FunctionModel: {type(module).__name__} has no __call__; a module that is called is needed.")
    module = eqx.nn.inference_mode(module) if freeze else module
    trained, rest = eqx.partition(module, eqx.is_inexact_array)
    return Parts(trained, _Combined(rest), _called if state is None else _with_state(state))


def _called(module: Any, x: Array) -> Any:
    return module(x)


def _with_state(state: Any) -> Callable[[Any, Array], Any]:
    """Call with a state that stays as it is; what the module makes of it is dropped."""
    return lambda module, x: module(x, state)[0]


def _of_nnx(nnx: Any, module: Any, params: Any, freeze: bool) -> Parts:
    """Each `nnx.Param` is trained; other variables are batch statistics, caches and counters of random numbers."""
    if params is not None:
        raise InputError("FunctionModel: a module of flax.nnx holds its parameters: write FunctionModel(module).")
    graph, trained, rest = nnx.split(module, nnx.Param, ...)
    kinds = sorted({type(node).__name__ for _, node in nnx.iter_graph(module) if isinstance(node, nnx.Variable)})
    if jax.tree.leaves(rest) and not freeze:
        others = ", ".join(kind for kind in kinds if kind != "Param") or "other variables"
        raise InputError(f"FunctionModel: the module holds more than parameters ({others}). {_FROZEN}")
    if freeze:
        module = nnx.merge(graph, trained, rest)
        module.eval()  # a copy's: batch statistics are read and not made, dropout keeps everything
        graph, trained, rest = nnx.split(module, nnx.Param, ...)
    return Parts(trained, _Merged(nnx, graph, rest), _called)


class _Merged:
    """Parameters and the rest of an nnx module as one; equal where the graphs are and nothing else is held."""

    def __init__(self, nnx: Any, graph: Any, rest: Any):
        self.nnx, self.graph, self.rest = nnx, graph, rest

    def __call__(self, params: Any) -> Any:
        return self.nnx.merge(self.graph, params, self.rest)

    def __eq__(self, other: object) -> bool:
        bare = isinstance(other, _Merged) and not jax.tree.leaves((self.rest, other.rest))
        return self is other or (isinstance(other, _Merged) and bare and bool(self.graph == other.graph))

    def __hash__(self) -> int:
        return hash(self.graph)


def _of_linen(module: Any, apply: Callable[..., Any], variables: Any, freeze: bool) -> Parts:
    """The collection "params" is trained; others, such as "batch_stats", are held."""
    if not isinstance(variables, Mapping) or "params" not in variables:
        raise InputError(
            f"FunctionModel: {type(module).__name__} is a module of flax.linen, whose parameters are beside it: write "
            "FunctionModel(module, module.init(key, x))."
        )
    others = {name: values for name, values in variables.items() if name != "params"}
    if others and not freeze:
        raise InputError(f"FunctionModel: the variables hold more than parameters ({', '.join(others)}). {_FROZEN}")
    return Parts(variables["params"], _linen_variables(others), _Guarded(apply))


def _linen_variables(others: dict[str, Any]) -> Callable[[Any], Any]:
    return _only_params if not others else lambda params: {"params": params, **others}


def _only_params(params: Any) -> Any:
    return {"params": params}


class _Guarded:
    """A linen module's `apply`, in whose words dropout and batch statistics are refused."""

    def __init__(self, apply: Callable[..., Any]):
        self.apply = apply

    def __call__(self, variables: Any, x: Array) -> Any:
        from flax import errors

        try:
            return self.apply(variables, x)
        except (errors.InvalidRngError, errors.ModifyScopeVariableError) as error:
            raise InputError(
                f"the module draws random numbers or changes its statistics ({str(error).split(' (http')[0]}). "
                "Call it as in inference: FunctionModel(functools.partial(module.apply, train=False), variables, "
                "freeze=True), by whatever name the module has for it."
            ) from error

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Guarded) and self.apply == other.apply

    def __hash__(self) -> int:
        return hash(self.apply)
