"""Folders of photographs to read: the user's own, or drawn where there are none."""

from pathlib import Path

from PIL import Image

from zf_lightning.data.sources.scan import IMAGE_SUFFIXES
from zf_lightning.embedded.draw import draw_image

#: Width and height, about those of ImageNet's median photograph.
SIZE = (500, 375)


def lay_out(photographs: Path, root: Path, images: int, *, distinct: int | None = None) -> Path:
    """A folder `train` of about `images` links in class folders, and `val` with one of each.

    They are to the first `distinct` photographs, or to all.
    """
    files = [p for p in sorted(photographs.rglob("*")) if p.suffix.lower() in IMAGE_SUFFIXES]
    files = files[:distinct]
    for split, times in (("train", max(1, images // len(files))), ("val", 1)):
        for file in files:
            folder = root / split / file.parent.name
            folder.mkdir(parents=True, exist_ok=True)
            for number in range(times):
                (folder / f"{file.stem}_{number}{file.suffix}").symlink_to(file.absolute())
    return root


def draw_photographs(folder: Path, count: int) -> Path:
    """Draw JPEGs of the size of photographs: pictures of the embedded dataset, enlarged.

    They are smoother than photographs and so cheaper to decode: real ones tell more.
    """
    for number in range(count):
        drawing = draw_image(0, "train", number)
        place = folder / drawing.class_name
        place.mkdir(parents=True, exist_ok=True)
        picture = Image.fromarray(drawing.image).resize(SIZE, Image.Resampling.BICUBIC)
        picture.save(place / f"{number:05}.jpg", quality=92)
    return folder
