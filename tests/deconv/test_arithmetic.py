"""Projections are computed in float32, and what was chosen elsewhere stays chosen."""

from typing import Any

import pytest
import torch
from torch import nn

from tests.deconv.oracles import small_convnet, some_images
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.deconv.rules import RULES


@pytest.mark.parametrize("windows", [True, False])
@pytest.mark.parametrize("tf32", [True, False])
def test_neither_autocast_nor_tf32_reaches_a_projection(
    windows: bool, tf32: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", tf32)
    seen: list[tuple[bool, bool]] = []

    def rule(*arguments: Any) -> Any:
        seen.append((torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")))
        return RULES[nn.ReLU](*arguments)

    network, images = small_convnet("zfnet_like").float(), some_images(1).float()
    deconvnet = Deconvnet(network, rules={} if windows else {nn.ReLU: rule}, windows=windows)
    if windows:
        # The built-in rule, which knows windows.
        original = deconvnet.graph.run_rule

        def run_rule(*arguments: Any) -> Any:
            seen.append((torch.backends.cudnn.allow_tf32, torch.is_autocast_enabled("cpu")))
            return original(*arguments)

        monkeypatch.setattr(deconvnet.graph, "run_rule", run_rule)
    with torch.autocast("cpu", torch.bfloat16):
        found = deconvnet.project(
            images, [Unit(image=0, layer="conv2", feature_map=1, row=1, column=1)]
        )
        assert torch.is_autocast_enabled("cpu")
    assert found.pixels.dtype == found.activations.dtype == torch.float32
    assert seen and set(seen) == {(False, False)}
    assert torch.backends.cudnn.allow_tf32 == tf32
