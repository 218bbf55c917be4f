"""`ObservedNetwork`: a network whose layers' outputs are seen on the way to its scores."""

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor, fx, nn

from zf_lightning.errors import UserError
from zf_lightning.graph import Graph, run
from zf_lightning.graph.operations import RECTIFIERS

#: Called with a layer's name and its output, `[N, C, H, W]` or `[N, C]`, as soon as that is there.
#: The tensor may change afterwards (operations in place): what is wanted of it is taken at once.
Observe = Callable[[str, Tensor], None]


class ObservedNetwork:
    """Runs a network in evaluation mode, layers named as in `zf_lightning.deconv`.

    A layer's output is what leaves the batch normalisation and the ReLU that follow it. The
    network is only read: modes, gradients and random state stay as they are. Operations need no
    rule of the deconvnet.

    Args:
        network: takes images `[N, 3, H, W]` and returns `[N, classes]`, before a softmax.

    Raises:
        UserError: the network cannot be traced to a graph.
    """

    def __init__(self, network: nn.Module) -> None:
        self.graph = Graph(network)
        self.network = self.graph.network

    @classmethod
    def of(cls, network: "nn.Module | ObservedNetwork") -> "ObservedNetwork":
        """The network itself if it is observed already: tracing takes time."""
        return network if isinstance(network, cls) else cls(network)  # type: ignore[arg-type]

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers with weights, from the input on; the last gives the classes."""
        return self.graph.layers

    @property
    def hidden_convolutions(self) -> tuple[str, ...]:
        """Names of the convolutions, without one that gives the classes."""
        return tuple(layer for layer in self.layers[:-1] if self.graph.is_convolution(layer))

    @property
    def last_convolution(self) -> str:
        """The convolution before the layers that decide: layer 5 in the paper.

        Raises UserError if there is none.
        """
        if not self.hidden_convolutions:
            raise UserError("The network has no hidden convolution: name a layer.")
        return self.hidden_convolutions[-1]

    @property
    def last_hidden(self) -> str:
        """The last layer before the one that gives the classes: layer 7 in the paper.

        Raises UserError if there is none.
        """
        if len(self.layers) < 2:
            raise UserError("The network has no hidden layer: name a layer.")
        return self.layers[-2]

    @property
    def middle_and_late(self) -> tuple[str, str]:
        """What stands for layers 5 and 7 of the paper: two layers that can be compared.

        The last convolution and the last hidden layer. Where these are the same, because the
        network has no hidden fully connected layer, the middle one is the convolution at two
        thirds of the depth.
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
        """Scores `[N, classes]` of images `[N, 3, H, W]`; `observe` sees the `layers` on the way.

        With `rectified=False` it sees what enters their ReLU.
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

        # On a CPU convolutions and pools are faster so.
        images = images.contiguous(memory_format=torch.channels_last)
        return check_scores(run(self.graph, images, on_value), len(images))

    def features(
        self, images: Tensor, layers: Sequence[str], *, rectified: bool = True
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Scores `[N, classes]`, and the output of each of `layers`, flattened to `[N, D]`.

        With `rectified=False`, what enters their ReLU instead.
        """
        found: dict[str, Tensor] = {}

        def keep(layer: str, output: Tensor) -> None:
            found[layer] = output.flatten(1).float().clone()

        return self.run(images, layers, keep, rectified=rectified), found


def check_scores(scores: Any, images: int) -> Tensor:
    """The scores of a network as float32 `[N, classes]`; UserError if they are something else."""
    if not isinstance(scores, Tensor) or scores.dim() != 2 or len(scores) != images:
        found = list(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise UserError(f"The network's output is {found}, not scores [N, classes].")
    return scores.float()
