"""The atlas: what is in it belongs together, survives the disk, and hides no mismatch."""

import errno
import json
import math
import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from tests.deconv.oracles import small_convnet, some_images
from zf_lightning.atlas import Atlas, ImageBatch, LayerAtlas, TopActivations, build_atlas
from zf_lightning.atlas.earlier import FORMAT_1, NAMES
from zf_lightning.deconv import Deconvnet, Unit
from zf_lightning.errors import UserError
from zf_lightning.models import ConvNet

LAYERS = ("conv1", "conv2", "conv3")
#: Dataset indices of the images, which are not their places.
INDICES = [3, 10, 11, 40, 41, 50]
MAPS = {"conv1": [4, 0], "conv2": [7], "conv3": [2, 1]}
CLASSES = ("bird", "cat", "dog")


class Images:
    """A dataset of noise; the display image is the network's input as bytes."""

    def __init__(self) -> None:
        self.display = ((some_images(6) * 40 + 128).clamp(0, 255)).to(torch.uint8)
        self.inputs = (self.display.double() - 128) / 40
        self.asked: list[list[int]] = []

    def __call__(self, indices: list[int]) -> ImageBatch:
        self.asked.append(indices)
        places = [INDICES.index(index) for index in indices]
        labels = torch.tensor([index % 3 for index in indices])
        return ImageBatch(self.display[places], self.inputs[places], labels)


def made(network: ConvNet, images: Images, *, batch_size: int = 4) -> tuple[Deconvnet, Atlas]:
    deconvnet = Deconvnet(network, batch_size=batch_size)
    outputs = deconvnet.forward(images.inputs, LAYERS).outputs
    top = TopActivations({layer: maps.shape[1] for layer, maps in outputs.items()}, k=4)
    top.update(outputs, torch.tensor(INDICES))
    atlas = build_atlas(
        deconvnet,
        top.compute(),
        images,
        input_size=(41, 41),
        maps=MAPS,
        label_of=lambda index: index % 3,
        epoch=3,
        classes=CLASSES,
    )
    return deconvnet, atlas


def padded(image: Tensor) -> Tensor:
    return torch.nn.functional.pad(image, (60, 60, 60, 60))


def test_tiles_belong_to_their_units() -> None:
    images = Images()
    deconvnet, atlas = made(small_convnet("zfnet_like"), images)
    assert atlas.mismatches == []
    assert list(atlas.layers) == list(LAYERS)
    inside_image = padded(torch.ones(41, 41))
    for layer, found in atlas.layers.items():
        assert found.drawn.tolist() == MAPS[layer]
        for place, feature_map in enumerate(MAPS[layer]):
            for rank in range(4):
                index = int(found.indices[feature_map, rank])
                image = INDICES.index(index)
                row, column = (int(at[feature_map, rank]) for at in (found.rows, found.columns))
                unit = Unit(image, layer, feature_map, row, column)
                whole = deconvnet.project(images.inputs, [unit])
                assert whole.activations.item() == pytest.approx(
                    float(found.activations[feature_map, rank]), rel=1e-6
                )
                top, left = (int(at) + 60 for at in found.tiles[place, rank])
                height, width = found.patches.shape[-2:]
                here = (slice(top, top + height), slice(left, left + width))
                assert torch.equal(found.inside[place, rank], inside_image[here].bool())
                patch = padded(images.display[image])[:, here[0], here[1]]
                assert torch.equal(found.patches[place, rank], patch)
                projection = padded(whole.pixels[0])[:, here[0], here[1]].float()
                peak = float(projection.abs().max())
                assert float(found.peaks[place, rank]) == pytest.approx(peak, rel=1e-6)
                half = 0.501 * peak / int(found.steps[place, rank])
                torch.testing.assert_close(
                    found.projections[place, rank], projection, rtol=0, atol=half
                )
                assert int(found.labels[feature_map, rank]) == index % 3


def test_windows_and_what_is_clipped() -> None:
    _, atlas = made(small_convnet("zfnet_like"), Images())
    first, second, third = (atlas.layers[layer] for layer in LAYERS)
    assert first.receptive_field == (7, 7) and first.patches.shape == (2, 4, 3, 7, 7)
    assert not first.clipped and not second.clipped
    assert torch.equal(first.windows[first.drawn][..., :2], first.tiles)
    assert torch.equal(first.windows[..., 0], 2 * first.rows - 1)
    assert (first.windows[..., 2:] == 7).all()
    # 67 pixels of an image of 41: the tile is the whole image.
    assert third.receptive_field == (67, 67) and third.clipped
    assert third.patches.shape[-2:] == (41, 41) and third.inside.all() and not third.tiles.any()


def test_every_winner_goes_through_the_network_once() -> None:
    images = Images()
    _, atlas = made(small_convnet("zfnet_like"), images, batch_size=2)
    asked = [index for batch in images.asked for index in batch]
    drawn = {
        int(index)
        for layer, maps in MAPS.items()
        for index in atlas.layers[layer].indices[maps].flatten()
    }
    assert sorted(asked) == sorted(drawn)
    assert max(len(batch) for batch in images.asked) == 2


def test_survives_the_disk(tmp_path: Path) -> None:
    _, atlas = made(small_convnet("zfnet_like"), Images())
    path = tmp_path / "atlas" / "epoch=003.safetensors"
    atlas.save(path)
    assert sorted(file.name for file in path.parent.iterdir()) == [
        "epoch=003.json",
        "epoch=003.safetensors",
    ]
    loaded = Atlas.load(path)
    assert (loaded.input_size, loaded.rule, loaded.norm) == ((41, 41), "deconvnet", "identity")
    assert (loaded.epoch, loaded.classes) == (3, CLASSES)
    assert list(loaded.layers) == list(LAYERS)
    for layer, found in atlas.layers.items():
        other = loaded.layers[layer]
        for name, value in vars(found).items():
            if isinstance(value, Tensor):
                assert torch.equal(getattr(other, name), value), name
                assert getattr(other, name).dtype == value.dtype
            else:
                assert getattr(other, name) == value, name
    first = path.read_bytes(), path.with_suffix(".json").read_bytes()
    loaded.save(path)
    assert (path.read_bytes(), path.with_suffix(".json").read_bytes()) == first


def test_files_of_before(tmp_path: Path) -> None:
    _, atlas = made(small_convnet("zfnet_like"), Images())
    path = tmp_path / "a.safetensors"
    plain = {}
    for layer, found in atlas.layers.items():
        plain |= {f"{layer}/{name}": getattr(found, name).contiguous() for name in NAMES}
        scaled = found.projections / found.peaks[..., None, None, None]
        plain[f"{layer}/scaled_projections"] = scaled.half()
    save_file(plain, path, {FORMAT_1: json.dumps(atlas._header())})
    for _ in range(2):
        before = Atlas.load(path)
        for layer, found in atlas.layers.items():
            other = before.layers[layer]
            for name in (*NAMES, "inside"):
                assert torch.equal(getattr(other, name), getattr(found, name)), name
            steps = (found.peaks / found.steps.minimum(other.steps))[..., None, None, None]
            assert ((other.projections - found.projections).abs() <= steps).all()
        before.save(path)


def test_files_with_the_strongest_tiles_alone(tmp_path: Path) -> None:
    _, atlas = made(small_convnet("zfnet_like"), Images())
    kept, path = atlas, tmp_path / "a.safetensors"
    for _ in range(2):
        kept.strongest().save(path)
        kept = Atlas.load(path)
        for layer, found in atlas.layers.items():
            assert torch.equal(kept.layers[layer].activations, found.activations)
            assert torch.equal(kept.layers[layer].patches, found.patches[:, :1])
            assert torch.equal(kept.layers[layer].projections, found.projections[:, :1])
            assert torch.equal(kept.layers[layer].inside, found.inside[:, :1])


def test_index(tmp_path: Path) -> None:
    _, atlas = made(small_convnet("zfnet_like"), Images())
    atlas.save(tmp_path / "a.safetensors")
    index = json.loads((tmp_path / "a.json").read_text())
    found = index["layers"]["conv1"]["feature_maps"]
    assert [entry["feature_map"] for entry in found] == list(range(6))
    assert [entry["tile"] for entry in found] == [1, None, None, None, 0, None]
    layer = atlas.layers["conv1"]
    assert found[4]["indices"] == layer.indices[4].tolist()
    assert found[4]["positions"] == torch.stack([layer.rows[4], layer.columns[4]], -1).tolist()
    assert found[4]["activations"] == pytest.approx(layer.activations[4].tolist(), rel=1e-5)
    assert index["classes"] == list(CLASSES) and index["epoch"] == 3


def test_write_that_fails_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, atlas = made(small_convnet("zfnet_like"), Images())
    path = tmp_path / "a.safetensors"
    atlas.save(path)
    before = path.read_bytes()

    def fail(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        atlas.save(path)
    assert path.read_bytes() == before
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


def test_what_is_no_atlas_is_refused(tmp_path: Path) -> None:
    save_file({"weights": torch.zeros(2)}, tmp_path / "weights.safetensors")
    with pytest.raises(UserError, match="is not an atlas"):
        Atlas.load(tmp_path / "weights.safetensors")


def test_mismatch_is_reported() -> None:
    images, network = Images(), small_convnet("zfnet_like")
    deconvnet = Deconvnet(network)
    outputs = deconvnet.forward(images.inputs, ["conv1"]).outputs
    metric = TopActivations({"conv1": 6}, k=3)
    metric.update(outputs, torch.tensor(INDICES))
    top = metric.compute()
    top["conv1"].activations[4, 1] *= 1 + 2e-4
    top["conv1"].activations[4, 2] = math.inf
    top["conv1"].activations[0] *= 1 + 5e-5
    atlas = build_atlas(deconvnet, top, images, input_size=(41, 41), maps={"conv1": [0, 4]})
    found = [(layer, one.feature_map, one.rank, one.index) for layer, one in atlas.mismatches]
    assert found == [("conv1", 4, rank, int(top["conv1"].indices[4, rank])) for rank in (1, 2)]
    assert math.isinf(atlas.mismatches[1][1].recorded)
    assert json.loads(json.dumps(atlas.index(), allow_nan=False))["layers"]["conv1"]["mismatches"]


def test_fewer_images_than_places_and_dead_maps(tmp_path: Path) -> None:
    images, network = Images(), small_convnet("zfnet_like")
    network.get_submodule("conv1").bias.data[2] = -1e6  # type: ignore[union-attr,index,operator]
    deconvnet = Deconvnet(network)
    metric = TopActivations({"conv1": 6}, k=9)
    outputs = deconvnet.forward(images.inputs, ["conv1"]).outputs
    metric.update(outputs, torch.tensor(INDICES))
    atlas = build_atlas(
        deconvnet,
        metric.compute(),
        images,
        input_size=(41, 41),
        maps={"conv1": [2, 3]},
        classes=CLASSES,
        label_of=lambda index: index % 3,
    )
    found = atlas.layers["conv1"]
    assert not found.peaks[0].any() and not found.levels[0].any()
    assert found.peaks[1, :6].all() and not found.inside[1, 6:].any()
    assert found.labels[3, 6:].tolist() == [-1, -1, -1]
    # A class that does not excite the map is not its class.
    assert atlas.class_names("conv1", 2) == [""] * 9
    assert atlas.class_names("conv1", 3)[6:] == [""] * 3 and atlas.class_names("conv1", 3)[0]
    atlas.save(tmp_path / "a.safetensors")
    index = json.loads((tmp_path / "a.json").read_text())
    assert index["layers"]["conv1"]["feature_maps"][3]["activations"][6:] == ["-inf"] * 3


def test_wrong_arguments() -> None:
    images, network = Images(), small_convnet("zfnet_like")
    deconvnet = Deconvnet(network)
    metric = TopActivations({"conv1": 6}, k=2)
    metric.update(deconvnet.forward(images.inputs, ["conv1"]).outputs, torch.tensor(INDICES))
    with pytest.raises(UserError, match="conv1 has no feature map 6: it has 6"):
        build_atlas(deconvnet, metric.compute(), images, input_size=(41, 41), maps={"conv1": [6]})
    with pytest.raises(UserError, match=r"have \[41, 41\] pixels"):
        build_atlas(deconvnet, metric.compute(), images, input_size=(45, 45), maps={"conv1": [1]})


def test_atlas_of_nothing_drawn() -> None:
    images = Images()
    deconvnet = Deconvnet(small_convnet("zfnet_like"))
    metric = TopActivations({"conv1": 6}, k=2)
    metric.update(deconvnet.forward(images.inputs, ["conv1"]).outputs, torch.tensor(INDICES))
    atlas = build_atlas(deconvnet, metric.compute(), images, input_size=(41, 41), maps={})
    found: LayerAtlas = atlas.layers["conv1"]
    assert images.asked == [] and found.patches.shape == (0, 2, 3, 7, 7)
