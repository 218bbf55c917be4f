"""The wall of feature maps: what is drawn of an atlas, and what the page says of it."""

import json
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from tests.atlases import described, noise_atlas
from zf_lightning.figures.grid import GUTTER, HAIRLINE
from zf_lightning.report.page import write_report
from zf_lightning.report.wall import MapWall, draw_training

PARTS = ("", "_quantiles")


def said(folder: Path) -> dict:
    script = (folder / "report" / "maps.js").read_text()
    return json.loads(script.removeprefix("const wall = ").removesuffix(";\n"))


def test_what_all_images_say_of_a_map(tmp_path: Path) -> None:
    wall = MapWall(tmp_path)
    atlas = noise_atlas([("conv1", 3, 7)])
    wall.add(atlas, {"conv1": described(3, label=1)})
    wall.add_examples(atlas)
    wall.write()
    assert drawn(tmp_path) == sorted(f"conv1/{n}{part}.webp" for n in range(3) for part in PARTS)
    one = said(tmp_path)["layers"][0]["maps"][2]["all"]
    assert (one["images"], one["excited"]) == (8, "50 %")
    # From 1 to 1.5 one image, none up to 2, then three.
    assert one["bars"] == {"from": "1", "to": "3", "counts": [1, 0, 3]}
    best = {"class": "cat", "precision": "0.75", "share": "0.25", "f1": "0.80"}
    assert one["detects"][0] == best
    weak, strong = one["quantiles"]
    assert weak["activation"] is None and strong["activation"] == "2.5"
    with Image.open(tmp_path / "report" / "maps" / "conv1" / "2_quantiles.webp") as picture:
        assert picture.size == (2 * 56 + GUTTER, 2 * (56 + HAIRLINE))
    row = wall.rows()[2]
    assert [*row.values()][:2] == ["conv1", 2]
    assert [*row.values()][4:7] == [0.5, "cat", 0.75]


def drawn(folder: Path) -> list[str]:
    maps = folder / "report" / "maps"
    return sorted(path.relative_to(maps).as_posix() for path in maps.rglob("*.webp"))


def test_a_wall_of_several_atlases_says_and_draws_each_map(tmp_path: Path) -> None:
    wall = MapWall(tmp_path)
    wall.add(noise_atlas([("conv1", 3, 7)]))
    wall.add(noise_atlas([("conv2", 5, 80)], drawn=2))
    wall.write()
    assert drawn(tmp_path) == [f"conv1/{n}.webp" for n in range(3)] + [
        "conv2/0.webp",
        "conv2/1.webp",
    ]
    content = said(tmp_path)
    first, second = content["layers"]
    assert (first["name"], first["count"], len(first["maps"]), first["tile"]) == (
        "conv1",
        3,
        3,
        [56, 56],
    )
    # Cut to the image.
    assert (second["count"], second["tile"], second["field"]) == (5, [64, 64], [80, 80])
    one = second["maps"][1]
    assert one["map"] == 1 and one["caption"] == "cat 9 of 9" and len(one["activations"]) == 9
    assert content["names"][str(one["images"][0])] == "cat/9.jpg"
    assert content["images"] == "validation images" and content["epoch"] is None


def test_a_tile_shows_its_image_and_what_is_not_there_is_transparent(tmp_path: Path) -> None:
    atlas = noise_atlas([("conv1", 1, 60)], images=5)
    layer = atlas.layers["conv1"]
    layer.patches[0, :] = torch.tensor([200, 40, 40], dtype=torch.uint8)[:, None, None]
    layer.inside[0, 1, :30] = False
    layer.activations[0, 3], layer.activations[0, 4] = 0, -torch.inf
    wall = MapWall(tmp_path)
    wall.add(atlas)
    wall.write()
    with Image.open(tmp_path / "report" / "maps" / "conv1" / "0.webp") as picture:
        pixels = np.asarray(picture.convert("RGBA"))
    step, block = 60 + HAIRLINE, 3 * 60 + 2 * HAIRLINE
    assert pixels.shape == (block, 2 * block + GUTTER, 4)
    assert np.abs(pixels[30, 30, :3].astype(int) - [200, 40, 40]).max() < 12
    assert pixels[30, 30, 3] == pixels[45, step + 30, 3] == 255
    assert pixels[15, step + 30, 3] == 0, "beyond the border"
    assert pixels[step + 30, 30, 3] == 0, "nothing excites the map"
    assert pixels[step + 30, step + 30, 3] == 0 and pixels[30, block + 4, 3] == 0
    (one,) = said(tmp_path)["layers"][0]["maps"]
    assert [len(one[name]) for name in ("activations", "images", "labels", "corners")] == [3] * 4


def test_a_dead_map_has_no_images_and_infinity_is_no_json(tmp_path: Path) -> None:
    atlas = noise_atlas([("conv1", 2, 7)])
    atlas.layers["conv1"].activations[0] = -torch.inf
    atlas.layers["conv1"].activations[1] = 0
    wall = MapWall(tmp_path)
    wall.add(atlas)
    wall.write()
    (layer,) = said(tmp_path)["layers"]
    assert layer["dead"] == 2 and [one["activations"] for one in layer["maps"]] == [[], []]


def test_of_many_images_the_strongest_are_shown(tmp_path: Path) -> None:
    wall = MapWall(tmp_path)
    wall.add(noise_atlas([("conv1", 1, 7)], images=40))
    wall.write()
    (layer,) = said(tmp_path)["layers"]
    assert layer["per_side"] == 5 and len(layer["maps"][0]["images"]) == 25


def test_the_last_epoch_of_a_training_takes_the_place_of_an_older_wall(tmp_path: Path) -> None:
    draw_training(tmp_path)
    assert not (tmp_path / "report" / "maps.js").exists(), "nothing was found"
    for epoch in (0, 11):
        atlas = noise_atlas([("conv1", 3, 7)], epoch=epoch, drawn=3 if epoch else 1)
        atlas.save(tmp_path / "atlas" / f"epoch={epoch + 1:03}.safetensors")
    wall = MapWall(tmp_path)
    wall.add(noise_atlas([("conv9", 1, 7)]))
    wall.write()
    draw_training(tmp_path)
    content = said(tmp_path)
    assert content["epoch"] == 12
    # Of the first epoch only one feature map was drawn.
    histories = [one["history"] for one in content["layers"][0]["maps"]]
    assert [[then["epoch"] for then in history] for history in histories] == [[1, 12], [12], [12]]
    assert histories[0][0]["image"] == 0 and histories[0][0]["activation"] == "1.84"
    names = [f"conv1/{n}{kind}.webp" for n in range(3) for kind in ("", "_epochs")]
    assert drawn(tmp_path) == names
    with Image.open(tmp_path / "report" / "maps" / names[1]) as strip:
        assert strip.size == (2 * 56 + GUTTER, 2 * (56 + HAIRLINE))
    assert 'src="maps.js"' in write_report(tmp_path).read_text()


def test_names_of_strangers_stay_data(tmp_path: Path) -> None:
    names = ("</script><img src=x onerror=alert(1)>", "\udcff\u2028")
    wall = MapWall(tmp_path)
    wall.add(noise_atlas([("conv1", 2, 7)], classes=names))
    wall.write()
    assert said(tmp_path)["classes"] == list(names)
    assert (tmp_path / "report" / "maps.js").read_bytes().isascii()
