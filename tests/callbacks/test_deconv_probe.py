"""The probe finds what excites each feature map, draws it, and changes nothing."""

import csv
import errno
import shutil
from argparse import Namespace
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import lightning
import pytest
import torch
from safetensors.torch import load_file

from tests.conftest import Compose
from zf_lightning.atlas import Atlas
from zf_lightning.callbacks import atlas_pictures, deconv_probe
from zf_lightning.data import FolderSource
from zf_lightning.data.sources.base import LabelledFiles
from zf_lightning.deconv import Deconvnet
from zf_lightning.errors import UserError
from zf_lightning.inspection.top_images import ReadOnce, chosen_maps, load_top_images
from zf_lightning.tasks import train
from zf_lightning.training import build as assembly
from zf_lightning.training.checkpoint import load_classifier


class Recorder(lightning.Callback):
    """What the rest of the run sees after each validation."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx) -> None:  # type: ignore[no-untyped-def]
        self.seen.append(float(outputs["loss"]))

    def on_train_epoch_start(self, trainer, module) -> None:  # type: ignore[no-untyped-def]
        hooks = sum(len(part._forward_hooks) for part in module.network.modules())
        modes = [part.training for part in module.modules()]
        gradients = [parameter.grad is None for parameter in module.parameters()]
        self.seen.append((hooks, modes, gradients, torch.get_rng_state().tolist()))


def run(monkeypatch: pytest.MonkeyPatch, compose_config: Compose, *overrides: str) -> list[Any]:
    recorder = Recorder()
    build = assembly.build_trainer

    def with_recorder(config: Any, *, callbacks: bool = True) -> lightning.Trainer:
        trainer = build(config, callbacks=callbacks)
        trainer.callbacks.append(recorder)
        return trainer

    with monkeypatch.context() as patch:
        patch.setattr(assembly, "build_trainer", with_recorder)
        train.run(compose_config(*overrides))
    return recorder.seen


@pytest.mark.parametrize("split", ["val", pytest.param("train", marks=pytest.mark.slow)])
def test_training_is_bit_identical_with_and_without(
    split: str,
    monkeypatch: pytest.MonkeyPatch,
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
) -> None:
    asked = ["model.fcs.fc6.dropout=0.5", f"probe.split={split}"]
    watched = run(monkeypatch, compose_config, *tiny, *asked)
    (tmp_path / "run").rename(tmp_path / "watched")
    off = [*tiny, "model.fcs.fc6.dropout=0.5", "callbacks.probe=null"]
    unwatched = run(monkeypatch, compose_config, *off)
    assert watched == unwatched
    assert (tmp_path / "watched" / "atlas").exists() and not (tmp_path / "run" / "atlas").exists()
    weights = [
        torch.load(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("watched", "run")
    ]
    assert all(torch.equal(value, weights[1][name]) for name, value in weights[0].items())


def test_the_atlas_has_the_strongest_images_of_the_validation(
    compose_config: Compose, tiny: list[str], tmp_path: Path, image_folder: Path
) -> None:
    shares = ["data.validation_share=0.4", "probe.top=4", "trainer.max_epochs=1"]
    train.run(compose_config(*tiny, *shares))
    folder = tmp_path / "run"
    classifier = load_classifier(folder / "checkpoints" / "last.ckpt").eval()
    files = FolderSource(image_folder, validation_share=0.4).split("val")
    everything = load_top_images(files, range(len(files)), classifier)
    atlas = Atlas.load(folder / "atlas" / "epoch=001.safetensors")
    assert list(atlas.layers) == ["conv1", "conv2", "conv3", "conv4", "conv5"]
    assert not atlas.mismatches
    with torch.no_grad():
        _, outputs = Deconvnet(classifier.network).with_feature_maps(
            everything.inputs, list(atlas.layers)
        )
    for layer, found in atlas.layers.items():
        values, order = outputs[layer].amax((2, 3)).T.sort(descending=True, stable=True)
        torch.testing.assert_close(found.activations, values[:, :4], rtol=1e-4, atol=1e-5)
        # Where two images are as good as equal, either may come first.
        clear = (values[:, :4] - values[:, 1:5]).abs() > 1e-3 * values[:, :4].abs()
        firm = clear[:, 0]
        assert torch.equal(found.indices[firm, 0], order[firm, 0])
        labels = torch.tensor(files.labels)
        assert torch.equal(found.labels, labels[found.indices])


def test_a_run_leaves_pictures_and_a_page(
    compose_config: Compose, tiny: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    loggers = "logger=[csv,tensorboard]"
    train.run(compose_config(*tiny, loggers, "probe.layers=[conv2,conv5]", "probe.maps=[0,2]"))
    folder = tmp_path / "run"
    names = {file.name for file in (folder / "figures").iterdir()}
    assert names == {f"epoch=00{e}_{layer}.webp" for e in (1, 2) for layer in ("conv2", "conv5")}
    assert load_file(folder / "atlas" / "epoch=002.safetensors")
    assert 'src="maps.js"' in (folder / "report" / "index.html").read_text()
    walls = {str(file.relative_to(folder / "report" / "maps")) for file in folder.rglob("maps/*/*")}
    kinds = [
        f"{layer}/{n}{kind}.webp"
        for layer in ("conv2", "conv5")
        for n in (0, 2)
        for kind in ("", "_epochs")
    ]
    assert walls == set(kinds)
    assert "The probe took" in caplog.text
    with (folder / "metrics.csv").open(newline="") as file:
        assert "val/top1_error" in next(csv.reader(file))
    files = (folder / "tensorboard").glob("events*")
    events = b"".join(file.read_bytes() for file in files)
    assert b"probe/conv5" in events and b"feature maps and their strongest activations" in events


@pytest.mark.slow
def test_only_the_asked_epochs_and_the_last_are_drawn(
    compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    train.run(compose_config(*tiny, "trainer.max_epochs=5", "probe.every_n_epochs=3"))
    names = sorted(file.name for file in (tmp_path / "run" / "atlas").glob("*.safetensors"))
    assert names == ["epoch=003.safetensors", "epoch=005.safetensors"]
    older, last = (Atlas.load(tmp_path / "run" / "atlas" / name) for name in names)
    assert older.layers["conv5"].patches.shape[1] == 1
    assert last.layers["conv5"].patches.shape[1] == older.layers["conv5"].indices.shape[1] > 1


def test_images_that_stay_among_the_strongest_are_read_once(
    monkeypatch: pytest.MonkeyPatch, compose_config: Compose, tiny: list[str]
) -> None:
    drawn: list[list[int]] = []
    read: list[int] = []
    by_the_probe: list[int] = []
    load, get = deconv_probe.load_top_images, LabelledFiles.__getitem__

    def loading(files: ReadOnce, indices: list[int], classifier: Any) -> Any:
        before = len(read)
        batch = load(files, indices, classifier)
        by_the_probe.extend(read[before:])
        drawn.append(indices)
        return batch

    def reading(self: LabelledFiles, index: int) -> Any:
        read.append(index)
        return get(self, index)

    monkeypatch.setattr(deconv_probe, "load_top_images", loading)
    monkeypatch.setattr(LabelledFiles, "__getitem__", reading)
    train.run(compose_config(*tiny, "trainer.max_epochs=3"))
    assert len(drawn) == 3 and set(drawn[0]) & set(drawn[1])
    assert sorted(by_the_probe) == sorted({index for indices in drawn for index in indices})


def test_maps_are_a_seeded_subset_a_list_or_all() -> None:
    subset = chosen_maps(5, 96, layer="conv1", seed=0)
    assert subset == chosen_maps(5, 96, layer="conv1", seed=0) == sorted(set(subset))
    assert len(subset) == 5
    assert subset != chosen_maps(5, 96, layer="conv1", seed=1)
    assert chosen_maps([3, 1], 96, layer="conv1", seed=0) == [1, 3]
    assert chosen_maps("all", 4, layer="conv1", seed=0) == [0, 1, 2, 3]
    assert chosen_maps(500, 4, layer="conv1", seed=0) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("probe.layers=[conv9]", "has no layer conv9"),
        ("probe.maps=[900]", "no map 900"),
        ("probe.maps=some", "a list, each a whole number"),
        ("probe.maps=0", "a list, each a whole number"),
        ("probe.every_n_epochs=0", "a whole number of at least 1"),
        ("probe.method=magic", "must be deconvnet, guided or gradient"),
        ("probe.top=0", "a whole number from 1"),
        ("probe.split=test", "must be val or train"),
    ],
)
def test_mistakes_are_known_before_training(
    override: str, words: str, compose_config: Compose, tiny: list[str], tmp_path: Path
) -> None:
    with pytest.raises(UserError, match=words):
        train.run(compose_config(*tiny, override))
    assert not (tmp_path / "run" / "checkpoints").exists()


def test_pictures_and_a_report_that_cannot_be_written_are_warnings(
    compose_config: Compose,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", "a file")

    for module in (atlas_pictures, train):
        monkeypatch.setattr(module, "write_report", full)
    result = train.run(compose_config(*tiny, "probe.layers=[conv1]", "trainer.max_epochs=1"))
    for what in ("The pictures of this epoch", "The report"):
        assert caplog.text.count(f"{what} could not be written: [Errno 28]") == 1
    assert result["epochs"] == 1 and (tmp_path / "run" / "result.json").exists()


def test_what_is_free_is_left_to_the_checkpoints(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = tmp_path / "checkpoints" / "last.ckpt"
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(bytes(1000))
    for free, refused in ((2000, False), (1999, True)):
        monkeypatch.setattr(shutil, "disk_usage", lambda _, free=free: Namespace(free=free))
        with pytest.raises(OSError, match="left to the checkpoints") if refused else nullcontext():
            atlas_pictures._leave_room(tmp_path)
