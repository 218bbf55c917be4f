"""Top activations of a user's own network, in a notebook."""

import pytest
import torch

from tests.deconv.oracles import small_convnet, some_images
from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError


def test_finds_the_strongest_images_and_projects_them() -> None:
    network, images = small_convnet("zfnet_like").eval(), some_images(11)
    deconvnet = Deconvnet(network)
    labels = torch.zeros(11)
    batches = [(images[start : start + 4], labels[start : start + 4]) for start in (0, 4, 8)]
    found = deconvnet.top_activations(batches, layers=["conv2", "fc4"], k=3, keep_images=True)
    assert list(found) == ["conv2", "fc4"] and "conv2" in found and "conv9" not in found
    outputs = deconvnet.forward(images, ["conv2", "fc4"]).outputs
    for layer, strongest in (("conv2", outputs["conv2"].amax((2, 3))), ("fc4", outputs["fc4"])):
        values, order = strongest.float().T.sort(descending=True, stable=True)
        assert torch.equal(found[layer].activations, values[:, :3])
        assert torch.equal(found[layer].indices[:, 0], order[:, 0])
    chosen, units = found.units("conv2", feature_map=5)
    assert torch.equal(chosen, images[found["conv2"].indices[5]])
    projected = deconvnet.project(chosen, units)
    torch.testing.assert_close(
        projected.activations.float(), found["conv2"].activations[5], rtol=1e-5, atol=0
    )
    # No image that has been beaten is kept.
    assert found.kept is not None and len(found.kept) == len(
        torch.cat([top.indices.flatten() for top in found.layers.values()]).unique()
    )


def test_batch_sizes_do_not_matter() -> None:
    network, images = small_convnet("alexnet_like").eval(), some_images(9)
    # Float64 sums of any batch size agree far below the float32 that is compared.
    one, other = (
        Deconvnet(network).top_activations(images.split(size), layers="conv", k=4)
        for size in (9, 2)
    )
    for layer in ("conv1", "conv2", "conv3"):
        for name in ("activations", "indices", "rows", "columns"):
            assert torch.equal(getattr(one[layer], name), getattr(other[layer], name))


def test_mistakes() -> None:
    deconvnet = Deconvnet(small_convnet("zfnet_like"))
    with pytest.raises(UserError, match="no images"):
        deconvnet.top_activations([])
    with pytest.raises(UserError, match="A batch is a tensor of images"):
        deconvnet.top_activations([{"images": some_images()}])
    with pytest.raises(UserError, match="keep_images=True"):
        deconvnet.top_activations([some_images()]).units("conv1", 0)
