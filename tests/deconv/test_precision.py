"""Projections are computed in float32, and what was chosen elsewhere stays chosen."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tests.deconv.oracles import small_convnet, some_images
from zf_lightning.deconv import Deconvnet, Unit

BACKENDS = ("cudnn.conv", "cuda.matmul", "mkldnn.conv", "mkldnn.matmul")


def precisions() -> list[str]:
    found = []
    for name in BACKENDS:
        backend: Any = torch.backends
        for part in name.split("."):
            backend = getattr(backend, part)
        found.append(backend.fp32_precision)
    return found


class Looking(nn.Module):
    """Notes the precision that each pass through it has."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Any] = []

    def forward(self, values: Tensor) -> Tensor:
        self.seen.append((precisions(), torch.is_autocast_enabled("cpu")))
        return values


@pytest.fixture
def _restored() -> Any:
    yield
    torch.backends.cudnn.conv.fp32_precision = "tf32"
    for backend in (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul):
        backend.fp32_precision = "none"


@pytest.mark.usefixtures("_restored")
@pytest.mark.parametrize("crops", [True, False])
@pytest.mark.parametrize("chosen", ["nothing", "legacy", "current"])
def test_neither_autocast_nor_tf32_reaches_a_projection(crops: bool, chosen: str) -> None:
    if chosen == "legacy":
        torch.set_float32_matmul_precision("high")
    if chosen == "current":
        # After this the legacy flag of cuDNN may not be read.
        torch.backends.cudnn.conv.fp32_precision = "ieee"
        torch.backends.cuda.matmul.fp32_precision = "tf32"
    before = precisions()
    network, images = small_convnet("zfnet_like").float(), some_images(1).float()
    looking = Looking()
    network.conv2.register_forward_hook(lambda module, inputs, output: looking(output))
    deconvnet = Deconvnet(network, crops=crops)
    with torch.autocast("cpu", torch.bfloat16):
        found = deconvnet.project(
            images, [Unit(image=0, layer="conv2", feature_map=1, row=1, column=1)]
        )
        assert torch.is_autocast_enabled("cpu")
    assert found.pixels.dtype == found.activations.dtype == torch.float32
    assert looking.seen and all(seen == (["ieee"] * 4, False) for seen in looking.seen)
    assert precisions() == before
