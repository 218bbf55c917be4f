"""Layers of a network, chosen by name, by pattern or by kind."""

import fnmatch
from collections.abc import Sequence

from zf_lightning.errors import UserError
from zf_lightning.graph.network import Graph


def find_layers(graph: Graph, asked: str | Sequence[str]) -> list[str]:
    """The layers that names and patterns mean, from the input on, each once.

    Args:
        graph: of the network.
        asked: `conv` (every convolution), `all` (every layer with weights), names of modules
            or graph nodes, patterns with `*` and `?` over the layers; one or several.

    Raises:
        UserError: one of them means no layer.
    """
    found: list[str] = []
    for name in [asked] if isinstance(asked, str) else asked:
        if name == "conv":
            matches = [layer for layer in graph.layers if graph.is_convolution(layer)]
        elif name == "all":
            matches = list(graph.layers)
        elif set(name) & set("*?["):
            matches = fnmatch.filter(graph.layers, name)
        else:
            graph.node(name)
            matches = [name]
        if not matches:
            raise UserError(
                f"No layer is meant by {name}; the network has {', '.join(graph.layers)}."
            )
        found += [match for match in matches if match not in found]
    return found
