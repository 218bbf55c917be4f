"""Every row of the table in `zf_lightning/data/decode.py`, and what a folder may hold besides."""

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy
import pytest
import torch
from PIL import Image, ImageOps

from tests.pictures import photograph
from zf_lightning.data.decode import centre_square, load_image
from zf_lightning.data.sources.scan import folder_names, image_names
from zf_lightning.errors import UnreadableImage, UserError

RED = (255, 0, 0)


def colour_of(path: Path) -> list[int]:
    return load_image(path).float().mean((1, 2)).round().int().tolist()


def grey16(path: Path) -> None:
    Image.fromarray(numpy.full((40, 50), 51 * 257, numpy.uint16)).save(path)


def transparent(path: Path) -> None:
    Image.new("RGBA", (40, 50), (200, 100, 0, 0)).save(path, lossless=True, exact=True)


def animation(path: Path) -> None:
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)


def palette(path: Path) -> None:
    image = Image.new("P", (40, 50), 1)
    image.putpalette([0, 0, 0, 10, 20, 30])
    image.save(path, transparency=1)


def plain(mode: str, colour: int | tuple[int, ...], size: tuple[int, int] = (40, 50)) -> Callable:
    def write(path: Path) -> None:
        Image.new(mode, size, colour).save(path)

    return write


def named_otherwise(kind: str) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        Image.new("RGB", (40, 50), RED).save(path, format=kind)

    return write


READABLE = {
    "grey.jpg": (plain("L", 77), [77, 77, 77]),
    "cmyk.jpg": (plain("CMYK", (255, 0, 0, 0)), [0, 255, 255]),
    "palette.png": (palette, [10, 20, 30]),
    "grey16.png": (grey16, [51, 51, 51]),
    "grey16.tif": (grey16, [51, 51, 51]),
    "transparent.png": (transparent, [200, 100, 0]),
    "transparent.webp": (transparent, [200, 100, 0]),
    "grey_alpha.png": (plain("LA", (90, 0)), [90, 90, 90]),
    "one_bit.png": (plain("1", 1), [255, 255, 255]),
    "animation.gif": (animation, [255, 0, 0]),
    "animation.webp": (animation, [255, 0, 0]),
    "animation.png": (animation, [255, 0, 0]),
    "picture.bmp": (plain("RGB", RED), [255, 0, 0]),
    "picture.ppm": (plain("RGB", RED), [255, 0, 0]),
    "one_pixel.png": (plain("RGB", (1, 2, 3), (1, 1)), [1, 2, 3]),
    "wide.png": (plain("RGB", (1, 2, 3), (5000, 1)), [1, 2, 3]),
    "high.png": (plain("RGB", (1, 2, 3), (1, 5000)), [1, 2, 3]),
    "a_png.JPEG": (named_otherwise("PNG"), [255, 0, 0]),
    "a_webp.jpg": (named_otherwise("WEBP"), [255, 0, 0]),
    "Grüße 漢字.png": (plain("RGB", RED), [255, 0, 0]),
    os.fsdecode(b"not utf-8 \xff.png"): (plain("RGB", RED), [255, 0, 0]),
}


@pytest.mark.parametrize("name", READABLE, ids=ascii)
def test_what_can_be_read_becomes_rgb(name: str, tmp_path: Path) -> None:
    write, expected = READABLE[name]
    write(tmp_path / name)
    assert image_names(tmp_path) == [name]
    image = load_image(tmp_path / name)
    assert image.shape == (3, 256, 256) and image.dtype == torch.uint8
    # JPEG and lossy WebP are not exact.
    assert numpy.abs(numpy.subtract(colour_of(tmp_path / name), expected)).max() <= 2


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_cameras_orientation_is_applied(orientation: int, tmp_path: Path) -> None:
    corners = numpy.zeros((256, 256, 3), numpy.uint8)
    corners[:128, :128], corners[:128, 128:], corners[128:, :128] = RED, (0, 255, 0), (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(corners).save(tmp_path / "image.jpg", exif=exif, quality=95)
    with Image.open(tmp_path / "image.jpg") as opened:
        upright = numpy.asarray(ImageOps.exif_transpose(opened).convert("RGB")).astype(int)
    found = load_image(tmp_path / "image.jpg").permute(1, 2, 0).numpy().astype(int)
    assert abs(found - upright).max() <= 3


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["webp", "png", "xmp_first.jpg"])
def test_it_is_applied_wherever_it_stands(kind: str, orientation: int, tmp_path: Path) -> None:
    pixels = numpy.zeros((256, 256, 3), numpy.uint8)
    pixels[:128, :200] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = tmp_path / f"image.{kind}"
    options = {"lossless": True} if kind == "webp" else {}
    Image.fromarray(pixels).save(path, exif=exif, **options)
    if kind == "xmp_first.jpg":
        xmp = b"http://ns.adobe.com/xap/1.0/\0<x:xmpmeta xmlns:x='adobe:ns:meta/'/>"
        whole = path.read_bytes()
        block = b"\xff\xe1" + (len(xmp) + 2).to_bytes(2, "big") + xmp
        path.write_bytes(whole[:2] + block + whole[2:])
    with Image.open(path) as opened:
        upright = numpy.array(ImageOps.exif_transpose(opened).convert("RGB"))
    difference = load_image(path).permute(1, 2, 0).numpy().astype(int) - upright
    assert abs(difference).max() <= (20 if kind == "xmp_first.jpg" else 0)


def test_a_damaged_orientation_is_none(tmp_path: Path) -> None:
    pixels = Image.new("RGB", (300, 300), (10, 20, 30))
    pixels.save(tmp_path / "image.png", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    assert load_image(tmp_path / "image.png")[:, 0, 0].tolist() == [10, 20, 30]


def cut(kind: str, share: float) -> Callable[[Path], None]:
    def write(path: Path) -> None:
        photograph(300, 280).save(path, format=kind)
        content = path.read_bytes()
        path.write_bytes(content[: int(share * len(content))])

    return write


def text(path: Path) -> None:
    path.write_text("this is no picture")


def floating_point(path: Path) -> None:
    Image.fromarray(numpy.full((40, 50), 0.5, numpy.float32)).save(path)


def circle(path: Path) -> None:
    path.symlink_to(path.name)


UNREADABLE = {
    "cut.jpg": (cut("JPEG", 0.5), "truncated"),
    "cut_at_the_end.jpg": (cut("JPEG", 0.97), "truncated"),
    "cut.png": (cut("PNG", 0.5), "truncated"),
    "cut.webp": (cut("WEBP", 0.5), ""),
    "cut.gif": (cut("GIF", 0.5), "truncated"),
    "header_only.jpg": (cut("JPEG", 0.01), ""),
    "empty.jpg": (Path.touch, "it is empty"),
    "text.jpg": (text, "its format is not known"),
    "float.tif": (floating_point, "floating-point"),
    "circle.jpg": (circle, "symbolic links"),
    "broken_link.jpg": (lambda path: path.symlink_to("nowhere.jpg"), "No such file"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_what_cannot_be_read_is_listed_and_named_with_the_reason(name: str, tmp_path: Path) -> None:
    write, reason = UNREADABLE[name]
    write(tmp_path / name)
    assert image_names(tmp_path) == [name]
    with pytest.raises(UnreadableImage) as problem:
        load_image(tmp_path / name)
    assert problem.value.sentence.startswith(f"{tmp_path / name} cannot be read as an image (")
    assert reason in problem.value.sentence and "\n" not in problem.value.sentence


def test_a_file_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "mine.png"
    photograph(40, 40).save(path)
    if os.geteuid():
        path.chmod(0)
    else:
        # The superuser may read everything.
        def forbidden(*_: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        monkeypatch.setattr("pathlib.Path.read_bytes", forbidden)
    with pytest.raises(UnreadableImage, match=r"mine\.png .*Permission denied"):
        load_image(path)


def test_of_a_very_long_picture_the_centre_square_is_that_of_the_whole() -> None:
    strip = torch.zeros(3, 1, 201, dtype=torch.uint8)
    strip[:, 0, 100] = 200
    found = centre_square(strip)
    # Scaled whole, as torchvision does.
    from torchvision.transforms.v2 import functional as transforms

    whole = transforms.center_crop(transforms.resize(strip, [256], antialias=True), [256, 256])
    assert (found.int() - whole.int()).abs().max() <= 1


def test_of_a_folder_only_images_are_listed_at_any_depth(tmp_path: Path) -> None:
    photograph(20, 20).save(tmp_path / "b.png")
    (tmp_path / "folder.jpg" / "deeper").mkdir(parents=True)
    photograph(20, 20).save(tmp_path / "folder.jpg" / "deeper" / "c.PNG")
    (tmp_path / ".hidden").mkdir()
    photograph(20, 20).save(tmp_path / ".hidden" / "d.png")
    (tmp_path / "._b.png").write_text("what a Mac leaves")
    (tmp_path / "notes.txt").write_text("notes")
    os.mkfifo(tmp_path / "pipe.jpg")
    # A circle of folders, and a link to a folder elsewhere.
    (tmp_path / "folder.jpg" / "up").symlink_to(tmp_path)
    (tmp_path / "circle").symlink_to("circle")
    (tmp_path / "again").symlink_to(tmp_path / "folder.jpg" / "deeper")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert image_names(tmp_path) == ["again/c.PNG", "b.png", "folder.jpg/deeper/c.PNG"]
    assert folder_names(tmp_path) == ["again", "folder.jpg"]
    assert image_names(tmp_path / "nowhere") == []


def test_a_folder_that_may_not_be_read_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("os.scandir", forbidden)
    with pytest.raises(UserError, match=r"cannot be read \(Permission denied\)"):
        image_names(tmp_path)
