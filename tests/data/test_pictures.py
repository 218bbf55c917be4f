"""Decoding, preprocessing and the mean image."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader

from tests.conftest import write_images
from tests.pictures import photograph
from tests.system.damage import DAMAGES
from zf_lightning.data import (
    FolderSource,
    PixelStatistics,
    Preprocessing,
    cached_statistics,
    compute_statistics,
)
from zf_lightning.data import statistics as statistics_module
from zf_lightning.data.decode import load_image
from zf_lightning.errors import UserError


@pytest.mark.parametrize("size", [(400, 300), (300, 500), (256, 256), (100, 80)])
def test_an_image_is_what_pil_makes_of_it(size: tuple[int, int], tmp_path: Path) -> None:
    path = tmp_path / "image.png"
    photograph(*size).save(path)
    found = load_image(path)
    scale = 256 / min(size)
    width, height = (int(side * scale) for side in size)
    with Image.open(path) as opened:
        resized = opened.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - 256) / 2), round((height - 256) / 2)
    expected = numpy.asarray(resized.crop((left, top, left + 256, top + 256)))
    assert found.dtype == torch.uint8 and found.shape == (3, 256, 256)
    difference = found.permute(1, 2, 0).numpy().astype(int) - expected.astype(int)
    assert abs(difference).max() <= 2


@pytest.mark.parametrize(
    ("mode", "name"),
    [(mode, "image.png") for mode in ("L", "P", "RGBA", "LA", "1", "I;16")]
    + [("CMYK", "image.jpg"), ("RGB", "image.bmp"), ("RGB", "image.tiff"), ("RGB", "image.webp")],
)
def test_other_modes_and_formats_become_rgb(mode: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / name
    image = photograph(300, 280)
    if mode == "I;16":
        grey = numpy.asarray(image.convert("L")).astype(numpy.uint16) * 257
        Image.fromarray(grey).save(path)
    else:
        image.convert(mode).save(path)
    found = load_image(path)
    assert found.shape == (3, 256, 256) and found.dtype == torch.uint8
    assert 60 < found.float().mean() < 200


def test_of_an_animation_the_first_picture_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("RGB", (256, 256), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "image.gif", save_all=True, append_images=frames[1:])
    assert load_image(tmp_path / "image.gif")[:, 0, 0].tolist() == [255, 0, 0]


def test_the_cameras_orientation_is_applied(tmp_path: Path) -> None:
    image = photograph(256, 256)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif, quality=100)
    upright = load_image(tmp_path / "turned.jpg").float()
    expected = torch.from_numpy(numpy.asarray(image).copy()).permute(2, 0, 1).rot90(-1, (1, 2))
    assert (upright - expected.float()).abs().mean() < 4


def test_a_file_that_is_no_image_is_named(tmp_path: Path) -> None:
    path = tmp_path / "broken.jpg"
    path.write_text("this is text")
    with pytest.raises(UserError, match=r"broken\.jpg cannot be read"):
        load_image(path)
    path.write_bytes(b"")
    with pytest.raises(UserError, match=r"broken\.jpg cannot be read"):
        load_image(path)


def test_statistics_are_those_of_all_pixels(image_folder: Path) -> None:
    files = FolderSource(image_folder).split("train")
    found = compute_statistics(files, progress=False)
    everything = torch.stack([files[i][0] for i in range(len(files))]).double()
    torch.testing.assert_close(found.mean_image.double(), everything.mean(0), atol=1e-4, rtol=0)
    torch.testing.assert_close(
        found.channel_std.double(), everything.std((0, 2, 3), correction=0), atol=1e-3, rtol=0
    )


def test_statistics_do_not_depend_on_workers(image_folder: Path) -> None:
    files = FolderSource(image_folder).split("val")
    alone = compute_statistics(files, progress=False)
    shared = compute_statistics(files, workers=2, progress=False)
    assert torch.equal(alone.mean_image, shared.mean_image)
    assert torch.equal(alone.channel_std, shared.channel_std)


def test_statistics_are_computed_once(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FolderSource(image_folder).split("val")
    first = cached_statistics(files, tmp_path, progress=False)
    monkeypatch.setattr(DataLoader, "__iter__", lambda self: pytest.fail("computed again"))
    assert torch.equal(cached_statistics(files, tmp_path).mean_image, first.mean_image)


@pytest.mark.parametrize("damage", DAMAGES)
def test_damaged_statistics_are_computed_again(
    image_folder: Path, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    files = FolderSource(image_folder).split("val")
    cached_statistics(files, tmp_path, progress=False)
    (path,) = tmp_path.glob("statistics-*.safetensors")
    whole = path.read_bytes()
    DAMAGES[damage](path)
    cached_statistics(files, tmp_path, progress=False)
    assert path.read_bytes() == whole and "It is computed again" in caplog.text


def test_processes_that_ask_at_once_get_one_computation(
    image_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = FolderSource(image_folder).split("val")
    computed: list[int] = []
    compute = statistics_module.compute_statistics

    def counting(*arguments: Any, **options: Any) -> PixelStatistics:
        computed.append(1)
        return compute(*arguments, **options)

    monkeypatch.setattr(statistics_module, "compute_statistics", counting)
    # The lock is one of files, and holds between threads as between processes.
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(cached_statistics, files, tmp_path, progress=False) for _ in range(4)]
        found = [job.result() for job in jobs]
    assert len(computed) == 1
    assert all(torch.equal(each.mean_image, found[0].mean_image) for each in found)
    assert [file.suffix for file in sorted(tmp_path.iterdir())] == [".lock", ".safetensors"]


def test_statistics_are_computed_again_for_other_files(tmp_path: Path) -> None:
    for hue, name in enumerate(("red", "green")):
        write_images(tmp_path / "images" / name, 5, hue=hue)
    before = FolderSource(tmp_path / "images").split("train")
    first = cached_statistics(before, tmp_path / "cache", progress=False)
    write_images(tmp_path / "images" / "red", 5, hue=2, seed=1)
    after = FolderSource(tmp_path / "images").split("train")
    second = cached_statistics(after, tmp_path / "cache", progress=False)
    assert not torch.equal(first.mean_image, second.mean_image)


def statistics() -> PixelStatistics:
    return PixelStatistics(
        mean_image=torch.rand(3, 256, 256) * 255,
        channel_mean=torch.tensor([100.0, 110.0, 120.0]),
        channel_std=torch.tensor([50.0, 60.0, 70.0]),
    )


def test_the_papers_preprocessing_subtracts_the_mean_image_and_divides_by_nothing() -> None:
    known = statistics()
    images = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    made = Preprocessing(input_size=224, mean="pixel", scale="none", statistics=known)
    expected = (images.float() - known.mean_image)[..., 16:240, 16:240]
    torch.testing.assert_close(made(images), expected)


def test_other_means_and_scales() -> None:
    known = statistics()
    images = torch.randint(0, 256, (2, 3, 256, 256), dtype=torch.uint8)
    centre = images.float()[..., 16:240, 16:240]
    made = Preprocessing(input_size=224, mean="channel", scale="std", statistics=known)
    expected = (centre - known.channel_mean[:, None, None]) / known.channel_std[:, None, None]
    torch.testing.assert_close(made(images), expected)
    plain = Preprocessing(input_size=224, mean="none", scale="none")(images)
    assert torch.equal(plain, centre)
    with pytest.raises(UserError, match="median"):
        Preprocessing(input_size=224, mean="median", scale="none")
    with pytest.raises(UserError, match="half"):
        Preprocessing(input_size=224, mean="none", scale="half")


def test_a_smaller_network_sees_the_same_share_of_the_picture() -> None:
    made = Preprocessing(input_size=112, mean="none", scale="none")
    assert made.base_size == 128
    images = torch.zeros(1, 3, 256, 256, dtype=torch.uint8)
    images[..., 16:240, 16:240] = 255
    assert made(images).shape == (1, 3, 112, 112)
    assert (made(images) > 0).all()


def test_preprocessing_travels_in_the_state() -> None:
    made = Preprocessing(input_size=112, mean="pixel", scale="std", statistics=statistics())
    blank = Preprocessing(input_size=112, mean="pixel", scale="std")
    blank.load_state_dict(made.state_dict())
    images = torch.randint(0, 256, (1, 3, 256, 256), dtype=torch.uint8)
    assert torch.equal(blank(images), made(images))
