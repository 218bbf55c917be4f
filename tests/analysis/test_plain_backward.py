"""The second path beside the deconvnet."""

import pytest
import torch
from torch import nn

from tests.analysis.networks import Branches, chain, pictures
from zf_lightning.analysis.plain_backward import PlainBackward, has_plain_path
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.graph import Graph


@pytest.mark.parametrize("method", ["deconvnet", "guided", "gradient"])
@pytest.mark.parametrize("norm", ["identity", "jacobian"])
@pytest.mark.parametrize(
    ("network", "layer"), [(chain(), "4"), (chain(), "8"), (Branches(), "inner")]
)
def test_both_paths_agree(network: nn.Module, layer: str, method: str, norm: str) -> None:
    images = pictures()
    deconvnet = Deconvnet(network, method=method, norm=norm)
    assert has_plain_path(deconvnet.graph, layer)
    for number in (0, 2):
        plain = PlainBackward(Graph(network), images[number], layer, method=method, norm=norm)
        place = plain.maps[3].flatten().argmax().item() if plain.maps.dim() > 1 else 0
        width = plain.maps.shape[-1] if plain.maps.dim() > 1 else 1
        row, column = divmod(int(place), width)
        found = deconvnet.project(images, [Unit(number, layer, 3, row, column)])
        torch.testing.assert_close(plain.project(3, row, column), found.pixels[0])


def test_other_operations_are_not_known() -> None:
    network = nn.Sequential(nn.Conv2d(3, 4, 3), nn.GELU(), nn.Conv2d(4, 4, 3))
    assert has_plain_path(Graph(network), "0") and not has_plain_path(Graph(network), "2")
