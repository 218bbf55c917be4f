"""Looking into a network on one, two and three processes: the same to the bit, each image once."""

import json
from pathlib import Path

import pytest
import torch

from tests.runs import command, own_network, started, wait_for
from zf_lightning.atlas import Atlas
from zf_lightning.embedded import draw_dataset

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]
#: Both 48 and 96 are multiples of the batches of one, two and three processes.
COUNTS = {"train": 20, "val": 48, "test": 28}
#: Of each process: equal batches have equal activations.
BATCH = 8


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A network with weights, on the embedded dataset."""
    folder = tmp_path_factory.mktemp("network")
    draw_dataset(folder / "embedded", counts=COUNTS, processes=1, progress=False)
    own = own_network(folder, folder)
    return [
        *(override for override in own if not override.startswith("data")),
        "data=embedded",
        f"paths.data={folder}",
        "data.images={" + ",".join(f"{split}:{count}" for split, count in COUNTS.items()) + "}",
        "data.workers=0",
        "logger=none",
    ]


def run(folder: Path, name: str, devices: int, *arguments: str) -> Path:
    """A run's folder; `trainer.devices` share the batches."""
    done = command(
        *arguments,
        "trainer.accelerator=cpu",
        f"trainer.devices={devices}",
        f"hydra.run.dir={name}",
        folder=folder,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert "Traceback" not in done.stderr
    return folder / name


def tiles(folder: Path) -> dict[str, bytes]:
    files = (folder / "atlas").glob("*/*.safetensors")
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def distribution(folder: Path) -> dict[str, bytes]:
    files = [path for path in (folder / "distribution").rglob("*") if path.is_file()]
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_an_atlas(network: list[str], tmp_path: Path) -> None:
    atlas = ["task=atlas", *network, "atlas.layers=all", "atlas.top=5"]
    one = run(tmp_path, "one", 1, *atlas, f"data.batch_size={BATCH}")
    expected = tiles(one)
    assert len(expected) == 4
    all_images = distribution(one)
    assert len(all_images) == 4 * 5
    result = json.loads((one / "result.json").read_text())
    assert result["images"] == COUNTS["val"]
    for name, devices, more in (
        ("two", 2, "atlas.keep_images=true"),
        ("three", 3, "atlas.keep_images=false"),
    ):
        several = run(tmp_path, name, devices, *atlas, f"data.batch_size={BATCH * devices}", more)
        assert tiles(several) == expected
        found = distribution(several)
        # The examples at quantiles are not among the images that are kept.
        drawn = {} if "true" in more else {n: v for n, v in all_images.items() if "-" in n}
        assert found == {n: v for n, v in all_images.items() if "-" not in n} | drawn
        assert json.loads((several / "result.json").read_text()) == result
        assert (several / "figures" / "block.png").exists()

    # Killed in the middle, and resumed on another number of processes.
    killed = [*atlas, "data.batch_size=2", "hydra.run.dir=killed"]
    search = tmp_path / "killed" / "atlas" / "search.safetensors"
    with started(
        *killed,
        "atlas.save_every=0",
        "trainer.accelerator=cpu",
        "trainer.devices=2",
        folder=tmp_path,
    ) as process:
        wait_for(search.exists, running=process)
    resumed = run(tmp_path, "killed", 1, *killed[:-1])
    assert json.loads((resumed / "result.json").read_text()) == result
    for name in expected:
        first, second = Atlas.load(one / name), Atlas.load(resumed / name)
        for layer, found in first.layers.items():
            again = second.layers[layer]
            assert torch.equal(again.indices, found.indices) and not again.mismatches
            torch.testing.assert_close(again.activations, found.activations, rtol=1e-5, atol=1e-6)


def test_features_predictions_and_the_overlap(network: list[str], tmp_path: Path) -> None:
    data = next(option.removeprefix("paths.data=") for option in network if "paths.data" in option)
    images = Path(data) / "embedded"
    transfer = ["transfer.layers=all", "transfer.per_class=4", "transfer.folds=1"]
    for task, options in (
        ("transfer", [*transfer, "transfer.classifiers=softmax"]),
        ("predict", [f"predict.root={images / 'val'}"]),
        ("overlap", [f"overlap.root={images / 'test'}"]),
    ):
        found = []
        for devices in (1, 3):
            name = f"{task}_{devices}"
            chosen = [f"data.batch_size={BATCH * devices}", f"paths.cache={tmp_path / name}_cache"]
            folder = run(tmp_path, name, devices, f"task={task}", *network, *options, *chosen)
            files = [
                *(tmp_path / f"{name}_cache").glob("features-*/*.float16"),
                *(tmp_path / f"{name}_cache").glob("features-*/*.scale"),
                *folder.glob("predictions.*"),
                *folder.glob("overlap_*"),
                *folder.glob("tables/*"),
            ]
            found.append({path.name: path.read_bytes() for path in files})
        assert found[0] == found[1] and len(found[0]) >= 2, task
        if task == "overlap":
            lines = found[0]["overlap.csv"].decode().splitlines()
            # Each image of the test is in both sets.
            assert len(lines) == 1 + COUNTS["test"]
