"""The strongest training images: found in the training steps, ranked with the final weights."""

from pathlib import Path

import pytest
import torch

from tests.conftest import Compose
from tests.runs import Stopped, stop_at
from zf_lightning.atlas import Atlas
from zf_lightning.data import FolderSource, LabelledFiles
from zf_lightning.deconv import Deconvnet
from zf_lightning.tasks import train
from zf_lightning.training.checkpoint import load_classifier
from zf_lightning.training.module import ImageClassifier

TRAINING = ["probe.split=train", "probe.layers=[conv2,conv5]", "model.fcs.fc6.dropout=0.5"]


def maps_of_training(
    folder: Path, image_folder: Path, *, epoch: int
) -> tuple[dict[str, torch.Tensor], LabelledFiles]:
    """Each training image's strongest activations `[N, C]`, cropped as in the epoch."""
    classifier = load_classifier(folder / "checkpoints" / "last.ckpt").eval()
    files = FolderSource(image_folder).split("train")
    every = torch.arange(len(files))
    with torch.no_grad():
        inputs = classifier.preprocessing.random_crops(
            torch.stack([files[index][0] for index in every.tolist()]),
            every,
            seed=classifier.seed,
            epoch=epoch,
        )
        outputs = Deconvnet(classifier.network).feature_maps(inputs, ["conv2", "conv5"])
    return {layer: output.amax((2, 3)) for layer, output in outputs.items()}, files


@pytest.mark.slow
def test_all_candidates_are_ranked_with_the_final_weights(
    compose_config: Compose, tiny: list[str], tmp_path: Path, image_folder: Path
) -> None:
    # As many candidates as images, 48: then the ranking is that of the whole split.
    train.run(compose_config(*tiny, *TRAINING, "probe.top=48"))
    atlas = Atlas.load(tmp_path / "run" / "atlas" / "epoch=002.safetensors")
    outputs, files = maps_of_training(tmp_path / "run", image_folder, epoch=1)
    assert atlas.split == "train" and not atlas.mismatches
    for layer, values in outputs.items():
        found = atlas.layers[layer]
        expected = values.T.sort(descending=True).values
        torch.testing.assert_close(found.activations, expected, rtol=1e-4, atol=1e-5)
        assert torch.equal(found.indices.sort().values, torch.arange(48).expand(len(values.T), 48))
        assert torch.equal(found.labels, torch.tensor(files.labels)[found.indices])


def test_few_candidates_have_the_activations_of_the_final_weights(
    compose_config: Compose, tiny: list[str], tmp_path: Path, image_folder: Path
) -> None:
    train.run(compose_config(*tiny, *TRAINING, "probe.top=3"))
    atlas = Atlas.load(tmp_path / "run" / "atlas" / "epoch=002.safetensors")
    outputs, _ = maps_of_training(tmp_path / "run", image_folder, epoch=1)
    for layer, values in outputs.items():
        found = atlas.layers[layer]
        expected = values.T.gather(1, found.indices)
        torch.testing.assert_close(found.activations, expected, rtol=1e-4, atol=1e-5)
        assert found.activations.diff(dim=1).le(0).all()
        # They are candidates that were strong while the epoch went on: stronger than most.
        strong = found.activations[:, -1] >= values.T.median(1).values
        assert strong.float().mean() > 0.9


@pytest.mark.slow
def test_candidates_survive_a_stop_in_mid_epoch(
    compose_config: Compose, tiny: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = [*tiny, *TRAINING, "data.batch_size=7", "callbacks.last_checkpoint.steps=2"]
    train.run(compose_config(*asked))
    (tmp_path / "run").rename(tmp_path / "whole")
    with monkeypatch.context() as patch, pytest.raises(Stopped):
        stop_at(12, patch)
        train.run(compose_config(*asked))
    seen = []
    step = ImageClassifier.training_step

    def counting(self: ImageClassifier, batch, batch_index):  # type: ignore[no-untyped-def]
        seen.append(batch_index)
        return step(self, batch, batch_index)

    monkeypatch.setattr(ImageClassifier, "training_step", counting)
    train.run(compose_config(*asked))
    assert seen[0] > 0
    name = "atlas/epoch=002.safetensors"
    whole, resumed = (tmp_path / folder / name for folder in ("whole", "run"))
    assert whole.read_bytes() == resumed.read_bytes()
