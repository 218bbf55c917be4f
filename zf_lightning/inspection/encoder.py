"""The features of a network, by which pictures are compared."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from zf_lightning.analysis.quiz import Encoder
from zf_lightning.data.decode import STORED_SIZE
from zf_lightning.graph import Graph, capture

#: Pictures that go through the network together.
BATCH = 32


def network_encoder(graph: Graph, prepare: Callable[[Tensor], Tensor]) -> Encoder:
    """What goes into the last layer of a network, its mean over positions.

    Args:
        prepare: from pictures 0..255 `[N, 3, 256, 256]` to the network's input.
    """
    last = graph.node(graph.layers[-1])
    while not graph.is_layer(last):
        last = last.all_input_nodes[0]
    below = graph.sources(last)[0].name
    device = next(graph.network.parameters()).device

    def encode(pictures: Tensor) -> Tensor:
        found = []
        for some in pictures.split(BATCH):
            # The stored size, of which the preprocessing takes the centre.
            size = (STORED_SIZE, STORED_SIZE)
            stored = F.interpolate(some.float().to(device), size, mode="bilinear")
            with torch.no_grad():
                inputs = prepare(stored)
            features = capture(graph, inputs, [below], only=True)[1][below]
            found.append(features.flatten(2).mean(2) if features.dim() > 2 else features)
        return torch.cat(found)

    return encode
