"""The cross-check: what is projected is compared with the network's own forward pass.

The graph is traced, and its operations are run by rules. So a few of the units that are asked for
are also read from the network as it runs by itself, the first time that a layer is asked for and
again when weights, buffers, hooks or modes have changed.
"""

import warnings
from collections.abc import Sequence

import torch
from torch import Tensor, fx, nn

from zf_lightning.deconv.projection import projecting
from zf_lightning.deconv.units import Units
from zf_lightning.errors import UserError
from zf_lightning.graph.capture import capture, own_outputs
from zf_lightning.graph.network import Graph
from zf_lightning.system.compat import hooks_of, own_tensors

#: Relative difference up to which activations are the same; with fewer bits than float32 has, ten
#: times what they tell apart.
TOLERANCE = 1e-4


class CrossCheck:
    """Remembers of each layer the state of the network in which it agreed with itself."""

    def __init__(self) -> None:
        self._agreed: dict[str, int] = {}

    def __call__(
        self, graph: Graph, images: Tensor, projected: Sequence[tuple[Units, Tensor]]
    ) -> None:
        """Compare units with the network's own passes of their images `[N, C, H, W]`.

        Args:
            projected: units of a layer, with their activations `[U]`.

        Raises UserError that names the layer whose activations are others.
        """
        state = _state_of(graph.network)
        new = [(u, a) for u, a in projected if len(u) and self._agreed.get(u.layer) != state]
        if not new:
            return
        # Of the image of which most layers have units.
        images_of, counts = torch.cat([u.images.unique() for u, _ in new]).unique(
            return_counts=True
        )
        first = images_of[counts.argmax()]
        chosen = [first if (u.images == first).any() else u.images[0] for u, _ in new]
        which = torch.stack(chosen).unique()
        nodes = graph.nodes([units.layer for units, _ in new])
        with (
            projecting(graph.network, images.device),
            torch.no_grad(),
            torch.random.fork_rng([images.device] if images.is_cuda else []),
        ):
            passes = [_own_pass(graph, nodes, images[which]) for _ in range(2)]
        for (units, activations), image in zip(new, chosen, strict=True):
            own, again = (outputs[units.layer] for outputs in passes)
            mine = units.images == image
            some = units[mine]
            row = int((which == image).nonzero())
            at = (some.feature_maps, some.rows, some.columns)[: own.dim() - 1]
            own, again = own[row][at], again[row][at]
            _compare(units.layer, own, again, "a second pass of its own")
            _compare(units.layer, own, activations[mine], "its projection")
            self._agreed[units.layer] = state


def _state_of(network: nn.Module) -> int:
    """A digest that changes with weights, buffers, hooks and modes."""
    # One walk over the modules: it is taken at every call.
    return hash(
        tuple(
            (
                module.training,
                *(hooks_of(module, before=before) for before in (True, False)),
                *(
                    (tensor.data_ptr(), 0 if tensor.is_inference() else tensor._version)
                    for tensor in own_tensors(module)
                ),
            )
            for module in network.modules()
        )
    )


def _own_pass(graph: Graph, nodes: dict[str, fx.Node], images: Tensor) -> dict[str, Tensor]:
    found = own_outputs(graph, nodes, images)
    # Layers that are no modules: the operations as they are traced, without the rules.
    missing = nodes.keys() - found.keys()
    return {**found, **capture(graph, images, missing, only=True)[1]} if missing else found


def _compare(layer: str, own: Tensor, other: Tensor, what: str) -> None:
    tolerance = max(TOLERANCE, 10 * torch.finfo(own.dtype).eps)
    if own.dtype != other.dtype:
        # An autocast of the network's own, which tracing has left out.
        difference = float((own - other).abs().max()) / (_scale(own) or 1.0)
        warnings.warn(
            f"{layer} is computed in {own.dtype} by the network itself, and projected in "
            f"{other.dtype}: its activations differ by up to {difference:.1%} of the strongest.",
            stacklevel=2,
        )
        own = own.to(other.dtype)
    same = torch.isclose(own, other, rtol=tolerance, atol=tolerance * _scale(own), equal_nan=True)
    if not same.all():
        wrong = int((~same).nonzero()[0])
        raise UserError(
            f"{layer}: a unit's activation is {float(own[wrong]):.6g} in the network's own forward "
            f"pass, but {float(other[wrong]):.6g} in {what}, so that its projection would not be "
            "that of this network. Make the forward pass depend on the image alone; or, to project "
            "all the same, Deconvnet(…, cross_check=False)."
        )


def _scale(values: Tensor) -> float:
    finite = values[values.isfinite()]
    return float(finite.abs().max()) if len(finite) else 0.0
