"""The tasks that look into a network: on a run's checkpoint, and on one image with weights."""

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from PIL import Image
from safetensors.torch import save_file

from tests.conftest import Compose, check_result, composing_in, tiny_run, write_images
from zf_lightning.analysis import ObservedNetwork, occlude
from zf_lightning.atlas import Atlas
from zf_lightning.data.landmarks import in_stored_picture, read_landmarks
from zf_lightning.errors import UserError
from zf_lightning.inspection.subject import Subject, image_files, label_of, load_pictures
from zf_lightning.tasks import correspondence, evolution, filters, invariance, occlusion, train
from zf_lightning.training.checkpoint import load_classifier


@pytest.fixture(scope="module")
def trained_once(image_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two epochs on pictures of three colours, with a whole atlas of each."""
    folder = tmp_path_factory.mktemp("trained")
    options = ["probe.layers=[conv1,conv2,conv5]", "probe.maps=2", "probe.keep_tiles=all"]
    train.run(composing_in(folder)(*tiny_run(image_folder, folder / "data"), *options))
    return folder / "run"


@pytest.fixture
def trained(trained_once: Path, tmp_path: Path) -> Path:
    """A copy of the run, for tests that change it."""
    return shutil.copytree(trained_once, tmp_path / "trained")


@pytest.fixture
def photograph(tmp_path: Path) -> list[str]:
    """Overrides for one image from the disk and a network of torchvision with weights."""
    torch.manual_seed(0)
    weights = torchvision.models.squeezenet1_1(num_classes=7).state_dict()
    save_file(weights, tmp_path / "weights.safetensors")
    write_images(tmp_path / "photographs", 1, hue=1)
    return [
        "model=torchvision",
        "model.name=squeezenet1_1",
        f"model.weights={tmp_path / 'weights.safetensors'}",
        "model.input_size=96",
        "logger=csv",
        f"images={tmp_path / 'photographs' / '000.png'}",
    ]


def check(tmp_path: Path, result: dict[str, Any], *figures: str) -> None:
    """The run's folder holds the result and the figures, and these are not empty."""
    folder = tmp_path / "run"
    check_result(folder, result)
    assert (folder / "config.yaml").exists()
    page = (folder / "report" / "index.html").read_text()
    assert all(f"../figures/{name}.png" in page for name in figures)
    assert str(tmp_path) not in page, "a page is handed on"
    assert {f.name for f in (folder / "figures").iterdir()} >= {f"{name}.png" for name in figures}
    for name in figures:
        with Image.open(folder / "figures" / f"{name}.png") as picture:
            assert len(picture.convert("RGB").getcolors(1 << 24) or []) > 20


@pytest.mark.slow
def test_occlusion_of_images_of_the_checkpoints_data(
    trained: Path, compose_config: Compose, tmp_path: Path
) -> None:
    config = compose_config(
        "task=occlusion", f"ckpt={trained}", "logger=csv", "images=[0,3]", "occlusion.size=20"
    )
    result = occlusion.run(config)
    check(tmp_path, result, "occlusion")
    assert (result["layer"], result["size_pixels"], result["stride_pixels"]) == ("conv5", 20, 5)
    subject = Subject(load_classifier(trained / "checkpoints" / "best.ckpt").eval(), config)
    pictures = load_pictures(config, subject)
    assert pictures.labels == (0, 1), "two validation images of each class, in their order"
    expected = occlude(
        ObservedNetwork(subject.network),
        subject.prepare(pictures.pixels),
        labels=pictures.labels,
        size=20,
        stride=5,
        fill=subject.grey(128),
        windows=False,
    )
    for image, one in zip(result["images"], expected, strict=True):
        assert image["class_is_known"]
        assert image["feature_map"] == one.feature_map
        assert image["probability_lowest"] == pytest.approx(float(one.probability.min()), rel=1e-4)
    path = occlusion.find_atlas(config, "conv5", 0)
    assert path is not None and path.parent == trained / "atlas"
    found = Atlas.load(path).layers["conv5"]
    drawn = int(found.drawn[0])
    others = occlusion.other_projections(path, "conv5", drawn)
    assert others is not None and len(others) == int((found.activations[drawn] > 0).sum())
    undrawn = next(number for number in range(9) if number not in found.drawn.tolist())
    assert occlusion.other_projections(path, "conv5", undrawn) is None


def test_the_atlas_is_a_runs_a_tasks_or_a_file(compose_config: Compose, tmp_path: Path) -> None:
    config = compose_config("task=occlusion")
    assert occlusion.find_atlas(config, "conv5", 3) is None
    (tmp_path / "atlas" / "conv5").mkdir(parents=True)
    for name in ("epoch=001", "epoch=012", "conv5/00000-00031", "conv5/00032-00063"):
        (tmp_path / "atlas" / f"{name}.safetensors").touch()
    config.occlusion.atlas = str(tmp_path)
    expected = {("conv5", 40): "conv5/00032-00063", ("conv4", 40): "epoch=012"}
    for (layer, number), name in expected.items():
        found = occlusion.find_atlas(config, layer, number)
        assert found == tmp_path / "atlas" / f"{name}.safetensors"
    config.occlusion.atlas = str(tmp_path / "atlas" / "epoch=001.safetensors")
    assert occlusion.find_atlas(config, "conv5", 3) == Path(config.occlusion.atlas)
    config.occlusion.atlas = str(tmp_path / "nowhere")
    with pytest.raises(UserError, match="has no atlas of conv5"):
        occlusion.find_atlas(config, "conv5", 3)


@pytest.mark.parametrize(
    ("task", "figures"),
    [("occlusion", ["occlusion"]), ("invariance", ["invariance"]), ("filters", ["filters"])],
)
def test_one_image_from_the_disk_and_weights_are_enough(
    task: str,
    figures: list[str],
    photograph: list[str],
    compose_config: Compose,
    tmp_path: Path,
) -> None:
    options = ["occlusion.stride=24", "invariance.scale=null", "invariance.rotation.step=90"]
    run = {"occlusion": occlusion, "invariance": invariance, "filters": filters}[task].run
    own = [option for option in options if option.startswith(task)]
    result = run(compose_config(f"task={task}", *photograph, *own))
    check(tmp_path, result, *figures)
    assert not (tmp_path / "data").exists(), "no dataset was asked for"


def landmarks_file(folder: Path, *, rows: int = 4) -> Path:
    """A table for the pictures of `write_images`, 40×50 pixels: the nose in their middle."""
    with (folder / "landmarks.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file", "nose_x", "nose_y", "eye_x", "eye_y", "eye_distance"])
        for number in range(rows):
            table.writerow([f"{number:03}.png", 25, 20, 20, 15, 9])
    return folder / "landmarks.csv"


def test_correspondence_of_landmarks(
    photograph: list[str], compose_config: Compose, tmp_path: Path
) -> None:
    write_images(tmp_path / "photographs", 4, hue=1)
    table = landmarks_file(tmp_path / "photographs")
    options = [*photograph[:-1], f"landmarks={table}", "correspondence.draws=2"]
    result = correspondence.run(compose_config("task=correspondence", *options))
    check(tmp_path, result, "correspondence")
    assert result["images"] == 4
    for parts in result["layers"].values():
        assert list(parts) == ["nose", "eye", "random"]
        low, high = parts["nose"]["below_random_95_percent"]
        assert low <= parts["nose"]["below_random"] <= high
    assert result["paper"]["layers"]["layer 5"]["random"] == [0.107, 0.017]


def test_a_folder_of_images_is_read_as_data_images_reads_it(tmp_path: Path) -> None:
    root = tmp_path / "images"
    write_images(root / "red", 2, hue=0)
    write_images(tmp_path / "linked", 1, hue=0)
    (root / "green").symlink_to(tmp_path / "linked")
    write_images(root / "red" / ".ipynb_checkpoints", 1, hue=0)
    (root / "._a.png").write_bytes(b"")
    (root / "x.png").mkdir()
    names = [file.relative_to(root).as_posix() for file in image_files(root)]
    assert names == ["green/000.png", "red/000.png", "red/001.png"]


def test_landmarks_follow_the_centre_square(tmp_path: Path) -> None:
    write_images(tmp_path, 4, hue=1)
    found = read_landmarks(landmarks_file(tmp_path), tmp_path)
    # 40×50: the shorter side becomes 256, and five columns are cut off at either side.
    assert found.parts["nose"][0].tolist() == [128, 128]
    torch.testing.assert_close(found.parts["eye"][0], torch.tensor([96.0, 96.0]))
    assert in_stored_picture((0, 5), (40, 50)) == (0, 0)
    places = correspondence.in_input(found.parts["nose"], 224)
    assert places[0].tolist() == [112, 112]
    with pytest.raises(UserError, match="no part mouth; it has nose, eye"):
        read_landmarks(tmp_path / "landmarks.csv", tmp_path, ["mouth"])
    with pytest.raises(UserError, match="does not exist"):
        read_landmarks(landmarks_file(tmp_path, rows=5), tmp_path)
    for nowhere in ("nan", "inf", ""):
        (tmp_path / "nowhere.csv").write_text(f"file,nose_x,nose_y\n000.png,3,{nowhere}\n")
        with pytest.raises(UserError, match="line 2: nose has no position"):
            read_landmarks(tmp_path / "nowhere.csv", tmp_path)
    for outside in ("../000.png", str(tmp_path / "000.png")):
        (tmp_path / "outside.csv").write_text(f"file,nose_x,nose_y\n{outside},3,3\n")
        with pytest.raises(UserError, match=r"outside\.csv names '.*', which is outside of"):
            read_landmarks(tmp_path / "outside.csv", tmp_path)
    (tmp_path / "empty.csv").write_text("name,x\n")
    with pytest.raises(UserError, match="a column file"):
        read_landmarks(tmp_path / "empty.csv", tmp_path)


def test_parts_of_the_embedded_dataset_are_landmarks(tmp_path: Path) -> None:
    records = {}
    for number, name in enumerate(("cat", "face")):
        write_images(tmp_path / "test" / name, 2, hue=number)
        parts = {"nose": [25, 20], "left_ear" if name == "cat" else "hair": [15, 9]}
        records |= {f"test/{name}/{image:03}.png": {"parts": parts} for image in range(2)}
    table = tmp_path / "parts.json"
    table.write_text(json.dumps({"classes": {}, "images": records}))
    found = read_landmarks(table, tmp_path / "test" / "cat")
    assert list(found.parts) == ["nose", "left_ear"] and len(found.files) == 2
    assert found.parts["nose"][0].tolist() == [128, 128]
    with pytest.raises(UserError, match="choose one, as images="):
        read_landmarks(table, tmp_path)


def test_evolution_of_a_run(trained: Path, compose_config: Compose, tmp_path: Path) -> None:
    config = compose_config(
        "task=evolution", f"ckpt={trained}", "logger=csv", "evolution.layers=[conv1,conv5]"
    )
    result = evolution.run(config)
    check(tmp_path, result, "evolution", "evolution_conv1", "evolution_conv5")
    assert result["epochs"] == [1, 2]
    assert list(result["layers"]) == ["conv1", "conv5"]
    for values in result["layers"].values():
        assert values["jaccard_with_last"][-1] in (1, None)
    shutil.rmtree(trained / "atlas")
    with pytest.raises(UserError, match="has 0 atlases"):
        evolution.run(config)


def test_filters_of_two_networks(trained: Path, compose_config: Compose, tmp_path: Path) -> None:
    other = tmp_path / "other"
    shutil.copytree(trained, other)
    options = [f"filters.compare={other}", "filters.images=5", "filters.rms_limit=0.01"]
    result = filters.run(compose_config("task=filters", f"ckpt={trained}", "logger=csv", *options))
    names = ["filters", "filters_one_scale", "second_layer", "filter_statistics"]
    check(tmp_path, result, *names, "filters_compared", "second_layer_compared")
    one, same = result["networks"]
    assert one["name"] == "trained" and same["name"] == "other"
    assert max(one["rms_renormalised"]) <= 0.01 + 1e-6 < max(one["rms"])
    assert one["dead_feature_maps"]["images"] == 5
    assert sum(one["share_of_power"][band] for band in ("low", "mid", "high")) == pytest.approx(1)
    assert one["rms"] == same["rms"]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["images=null"], "give images=FILE"),
        (["images=nowhere"], "nowhere does not exist"),
        (["model.weights=null"], "needs a trained network"),
        (["label=tiger"], "no class of the network"),
        (["label=9"], "no class of the network"),
        (["occlusion.layer=conv9"], "no layer conv9"),
        (["occlusion.size=97"], "larger than the image"),
        (["occlusion.grey=300"], "a number from 0 to 255"),
    ],
)
def test_mistakes_are_one_sentence(
    overrides: list[str], words: str, photograph: list[str], compose_config: Compose
) -> None:
    with pytest.raises(UserError, match=words):
        occlusion.run(compose_config("task=occlusion", *photograph, *overrides))


def test_a_class_is_found_by_number_name_or_synonym() -> None:
    names = ["tench, Tinca tinca", "crane", "crane, machine"]
    assert label_of(1, names) == 1
    assert label_of("tinca tinca", names) == 0
    assert label_of("Crane", names) == 1
    with pytest.raises(UserError, match="no class"):
        label_of("dog", names)


def test_the_values_of_a_transformation_include_both_ends(compose_config: Compose) -> None:
    config = compose_config("task=invariance").invariance
    assert invariance.spread(config.vertical_translation, "")[::24] == [-60, 60]
    assert len(invariance.spread(config.scale, "")) == 17
    assert invariance.spread(config.scale, "")[-1] == 1.8
    assert len(invariance.spread(config.rotation, "")) == 36
    config.scale.step = 0
    with pytest.raises(UserError, match=r"invariance\.scale"):
        invariance.spread(config.scale, "scale")
