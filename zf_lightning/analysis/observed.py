"""`ObservedNetwork`: a network that hands out its layers' outputs on the way to its scores."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from zf_lightning.errors import UserError
from zf_lightning.graph import Graph, run
from zf_lightning.graph.operations import RECTIFIERS

#: Called with a layer's name and its output, `[N, C, H, W]` or `[N, C]`, as soon as it is computed.
#: In-place operations may change the tensor afterwards: copy what you keep.
Observe = Callable[[str, Tensor], None]


class ObservedNetwork:
    """Runs a network in evaluation mode; layers are named as in `zf_lightning.deconv`.

    A layer's output is taken after the batch normalisation and the ReLU that follow it. Modes,
    gradients and random state of the network do not change. Operations need no backward rule.

    Args:
        network: takes images `[N, 3, H, W]` and returns `[N, classes]`, before a softmax; or its
            graph, where it has been traced already.

    Raises:
        UserError: the network cannot be traced to a graph.
    """

    def __init__(self, network: nn.Module | Graph) -> None:
        self.graph = network if isinstance(network, Graph) else Graph(network)
        self.network = self.graph.network

    @classmethod
    def of(cls, network: "nn.Module | ObservedNetwork") -> "ObservedNetwork":
        """Wrap a network, unless it is wrapped already: tracing takes time."""
        return network if isinstance(network, cls) else cls(network)  # type: ignore[arg-type]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers with weights, from the input on; the last is the output layer."""
        return self.graph.layers

    @property
    def hidden_convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions, without the output layer."""
        return tuple(layer for layer in self.layers[:-1] if self.graph.is_convolution(layer))

    @property
    def last_convolution(self) -> str:
        """The last hidden convolution: layer 5 in the paper.

        Raises UserError if there is none.
        """
        if not self.hidden_convolutions:
            raise UserError("The network has no hidden convolution: name a layer.")
        return self.hidden_convolutions[-1]

    @property
    def last_hidden(self) -> str:
        """The layer before the output layer: layer 7 in the paper.

        Raises UserError if there is none.
        """
        if len(self.layers) < 2:
            raise UserError("The network has no hidden layer: name a layer.")
        return self.layers[-2]

    @property
    def middle_and_late(self) -> tuple[str, str]:
        """The last convolution and the last hidden layer: layers 5 and 7 in the paper.

        In a network without a hidden fully connected layer these are the same; the first is then
        the convolution at two thirds of the depth.
        """
        late = self.last_hidden
        middle = self.last_convolution
        if middle == late:
            number = len(self.hidden_convolutions)
            middle = self.hidden_convolutions[max(0, round(number * 2 / 3) - 1)]
        return middle, late

    def run(
        self,
        images: Tensor,
        layers: Collection[str] = (),
        observe: Observe = print,
        *,
        rectified: bool = True,
    ) -> Tensor:
        """Scores `[N, classes]` of images `[N, 3, H, W]`; calls `observe` with the `layers`.

        With `rectified=False` it gets the inputs of their ReLUs.
        Raises UserError for a layer that does not exist, or a network with another output.
        """
        shown: dict[fx.Node, list[str]] = {}
        for layer in layers:
            node = self.graph.node(layer)
            if not rectified and self.graph.is_kind(node, RECTIFIERS):
                node = node.all_input_nodes[0]
            shown.setdefault(node, []).append(layer)

        def on_value(node: fx.Node, value: Any) -> None:
            for layer in shown.get(node, ()):
                observe(layer, value)

        # Convolutions and pools are faster in this format on a CPU.
        images = images.contiguous(memory_format=torch.channels_last)
        return check_scores(run(self.graph, images, on_value), len(images))

    def features(
        self, images: Tensor, layers: Sequence[str], *, rectified: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores `[N, classes]`, and the outputs of `layers`, flattened to `[N, D]`.

        With `rectified=False`, the inputs of their ReLUs instead.
        """
        found: dict[str, Tensor] = {}

        def keep(layer: str, output: Tensor) -> None:
            found[layer] = output.flatten(1).float().clone()

        return self.run(images, layers, keep, rectified=rectified), found


def check_scores(scores: Any, images: int) -> Tensor:
    """The scores as float32 `[N, classes]`; raises UserError for any other output."""
    if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != images:
        found = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UserError(f"The network's output is {found}, not scores [N, classes].")
    return scores.float()
