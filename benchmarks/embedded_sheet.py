"""A labelled picture of a few images of each class of the embedded dataset, for people.

    python benchmarks/embedded_sheet.py --root data/embedded --out sheet.jpg

The last column shows the outline of the mask and the named parts.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from zf_lightning.embedded.classes import CLASSES

INK, FAINT, PAPER = (30, 30, 34), (110, 110, 116), (255, 255, 255)
EDGE, POINT = (255, 64, 160), (255, 230, 0)


def contact_sheet(
    root: Path,
    out_png: Path,
    *,
    per_class: int = 7,
    split: str = "train",
    width: int = 1000,
    annotated: bool = True,
) -> Path:
    """Write a sheet with a row for each class of the dataset in `root`, and return its path.

    The last column, if `annotated`, shows the outline of the mask and the named parts. The format
    follows the name of the file; JPEG keeps the sheet below 700 kB. `width` is the most it takes.
    """
    margin, gap = 84, 4
    columns = per_class + int(annotated)
    side = min(160, (width - margin - gap) // columns - gap)
    width = margin + gap + columns * (side + gap)
    top = 26 if annotated else gap
    sheet = Image.new("RGB", (width, top + len(CLASSES) * (side + gap)), PAPER)
    draw = ImageDraw.Draw(sheet)
    label_font, small_font = ImageFont.load_default(15), ImageFont.load_default(12)
    records = json.loads((root / "parts.json").read_text())["images"]
    for row, name in enumerate(CLASSES):
        y = top + row * (side + gap)
        draw.text((margin - 8, y + side / 2), name, INK, label_font, anchor="rm")
        files = sorted((root / split / name).glob("*.jpg"))[:columns]
        for column, file in enumerate(files):
            image: Image.Image = Image.open(file)
            if annotated and column == columns - 1:
                key = file.relative_to(root).as_posix()
                mask = Image.open(root / "masks" / Path(key).with_suffix(".png"))
                image = annotate(image, np.asarray(mask) > 127, records[key]["parts"])
            tile = image.resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(tile, (margin + gap + column * (side + gap), y))
    if annotated:
        middle = margin + gap + per_class * (side + gap) + side / 2
        draw.text((middle, 13), "mask and parts", FAINT, small_font, anchor="mm")
    out_png.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(out_png, optimize=True, quality=88)
    return out_png


def annotate(
    image: Image.Image, mask: np.ndarray, parts: dict[str, tuple[float, float]]
) -> Image.Image:
    """The image, dimmed outside the mask (bool [256, 256]), with its outline and its parts."""
    pixels = np.asarray(image.convert("RGB")).astype(np.float32)
    pixels[~mask] *= 0.45
    inner = mask.copy()
    for axis in (0, 1):
        for step in (-1, 1):
            inner &= np.roll(mask, step, axis) & np.roll(mask, 2 * step, axis)
    pixels[mask & ~inner] = EDGE
    marked = Image.fromarray(pixels.astype(np.uint8))
    draw = ImageDraw.Draw(marked)
    for x, y in parts.values():
        draw.ellipse((x - 5, y - 5, x + 5, y + 5), fill=POINT, outline=INK, width=2)
    return marked


def main() -> None:
    """Write the sheet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--root", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--split", default="train")
    options = parser.parse_args()
    print(contact_sheet(options.root, options.out, split=options.split))


if __name__ == "__main__":
    main()
