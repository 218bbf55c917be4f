"""What is kept of a pass of some images, so that units can be projected."""

from dataclasses import dataclass, field

from torch import Tensor, fx

from zf_lightning.deconv.reversal import Mode, Reversal


@dataclass
class Step:
    """One operation of the network in a recorded pass."""

    #: Nodes whose values the operation took, in the order of `reversal.reverse`.
    sources: tuple[fx.Node, ...]
    reversal: Reversal
    #: Shape of the output of one image, `(C, H, W)` or `(C,)`.
    shape: tuple[int, ...]


@dataclass
class Recording:
    """What the way down needs of a pass of some images, and the layers it was recorded for."""

    mode: Mode
    #: Height and width of the images.
    input_size: tuple[int, int]
    #: `[N, C, H, W]` or `[N, C]` for each recorded layer, by the names that were asked for.
    outputs: dict[str, Tensor]
    steps: dict[fx.Node, Step] = field(repr=False)
    nodes: dict[str, fx.Node] = field(repr=False)
