"""A compiled network gives the feature maps that one run operation by operation gives."""

import functools

import pytest
import torch
from torch import nn

from tests.deconv.oracles import small_convnet, some_images
from tests.networks import Viewed, skipping
from zf_lightning.deconv import Deconvnet


def zfnet_like() -> nn.Module:
    return small_convnet("zfnet_like").double()


CASES = {
    "skips and in-place sums": (skipping, ["stem", "block", "last", "iadd", "head"]),
    "overwritten in another shape": (Viewed, ["first", "last"]),
    "stages": (zfnet_like, ["conv1", "conv2", "conv3"]),
}


def compare(case: str, *, tolerance: float, training: bool) -> None:
    torch.compiler.reset()
    build, layers = CASES[case]
    network, images = build().double().train(training), some_images(2).double()
    modes = [module.training for module in network.modules()]
    deconvnet = Deconvnet(network)
    expected, maps = deconvnet.with_feature_maps(images, layers)
    run = deconvnet.compiled_with_feature_maps(layers)
    # A second time by what was compiled, with weights that have changed.
    for _ in range(2):
        logits, found = run(images)
        assert not logits.requires_grad and list(found) == layers
        torch.testing.assert_close(logits, expected, rtol=tolerance, atol=tolerance)
        for layer in layers:
            torch.testing.assert_close(found[layer], maps[layer], rtol=tolerance, atol=tolerance)
        with torch.no_grad():
            for parameter in network.parameters():
                parameter.mul_(0.9)
        expected, maps = deconvnet.with_feature_maps(images, layers)
    assert [module.training for module in network.modules()] == modes


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("training", [False, True])
def test_captured(case: str, training: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="aot_eager"))
    compare(case, tolerance=1e-12, training=training)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("case", CASES)
def test_generated(case: str) -> None:
    compare(case, tolerance=1e-5, training=False)
