"""Fig. 2 in a notebook."""

import numpy as np
import pytest
import torch

from tests.deconv.oracles import small_convnet, some_images
from zf_lightning.deconv import Deconvnet
from zf_lightning.deconv.receptive_field import crop
from zf_lightning.errors import UserError
from zf_lightning.figures.canvas import EMPTY, MARGIN
from zf_lightning.figures.grid import CAPTION_HEIGHT, HAIRLINE, tile_size
from zf_lightning.report.notebook import show


def test_draws_the_patches_of_a_feature_map_beside_their_projections() -> None:
    deconvnet, images = Deconvnet(small_convnet("zfnet_like").eval()), some_images(5)
    found = deconvnet.top_activations(images.split(2), layers=["conv2"], k=9, keep_images=True)
    live = int(found["conv2"].activations[:, 1].argmax())
    picture = show(deconvnet, found, "conv2", live)
    chosen, units = found.units("conv2", live)
    tiles = deconvnet.project_windows(chosen, units)
    size = tuple(tiles.pixels.shape[-2:])
    patches, inside = crop(chosen, units.images, tiles.tops, tiles.lefts, size)
    factor = tile_size(*size)[0] // size[0]
    corner = (MARGIN + 34 + 24 + 12 + CAPTION_HEIGHT, MARGIN)
    pixels = np.asarray(picture)[corner[0] :, corner[1] :]
    shown = pixels[: factor * size[0] : factor, : factor * size[1] : factor].astype(float)
    for channel in range(3):
        values = patches[:, channel][inside]
        expected = (patches[0, channel] - values.min()) / (values.max() - values.min()) * 255
        there = inside[0].numpy()
        assert np.abs(shown[..., channel] - expected.numpy())[there].max() <= 1
    # Only five images: the other places are empty.
    step = factor * size[0] + HAIRLINE
    assert (pixels[2 * step + 4, 4] == EMPTY).all()


def test_several_maps_and_layers_without_positions() -> None:
    deconvnet, images = Deconvnet(small_convnet("zfnet_like").eval()), some_images(4)
    found = deconvnet.top_activations([images], layers=["conv1", "fc4"], k=2, keep_images=True)
    one, three = (show(deconvnet, found, "conv1", maps) for maps in ([0], [0, 1, 2]))
    assert three.width > one.width
    assert show(deconvnet, found, "fc4", [0]).width > 2 * MARGIN
    assert one._repr_png_().startswith(b"\x89PNG"), "a notebook shows it"


def test_mistakes() -> None:
    deconvnet = Deconvnet(small_convnet("zfnet_like").eval())
    found = deconvnet.top_activations([some_images()], layers=["conv1"], keep_images=True)
    for layer, maps, words in (
        ("conv9", [0], "conv9 was not searched: conv1 were"),
        ("conv1", [0, 99], "not .99."),
        ("conv1", [], "has feature maps 0 to"),
    ):
        with pytest.raises(UserError, match=words):
            show(deconvnet, found, layer, maps)
    found = deconvnet.top_activations([some_images()], layers=["conv1"])
    with pytest.raises(UserError, match="keep_images=True"):
        show(deconvnet, found, "conv1", 0)


def test_a_batch_of_one_colour() -> None:
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3), torch.nn.ReLU())
    deconvnet = Deconvnet(network)
    found = deconvnet.top_activations([torch.rand(3, 1, 9, 9)], k=2, keep_images=True)
    shown = np.asarray(show(deconvnet, found, deconvnet.layers[0], [0, 1]))
    assert shown.shape[2] == 3
