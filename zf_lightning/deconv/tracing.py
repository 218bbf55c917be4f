"""From a module to a graph of operations, by torch.fx."""

from collections.abc import Mapping

from torch import fx, nn

from zf_lightning.deconv.inplace import InPlaceProxy
from zf_lightning.deconv.rules import Operation, Rule, rule_key
from zf_lightning.errors import UserError
from zf_lightning.models.evaluation import evaluation_mode


def traced(network: nn.Module, rules: Mapping[Operation, Rule]) -> fx.Graph:
    """The graph of a network in evaluation mode; modules that have a rule stay whole.

    Raises UserError if it cannot be traced.
    """

    class Tracer(fx.Tracer):
        def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
            known = rule_key(rules, m) is not None
            return known or super().is_leaf_module(m, module_qualified_name)

        def proxy(self, node: fx.Node) -> fx.Proxy:
            return InPlaceProxy(node, self)

    try:
        # Dropout and batch normalisation read their mode while the network is traced.
        with evaluation_mode(network):
            return Tracer().trace(network)
    except UserError:
        raise
    except Exception as problem:
        raise UserError(
            f"{type(network).__name__} cannot be traced to a graph ({problem}): its forward may "
            "neither depend on the values of its input nor make modules; hand in the part of it "
            "that does not."
        ) from problem
