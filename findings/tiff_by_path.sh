#!/usr/bin/env bash
# Pillow turns an uncompressed grey or RGBA TIFF twice when it is opened by its path.
#
# Versions: pillow 13.0.0.
# Guessed:  a picture is the same, opened by its path or from its bytes.
# So:       with an orientation that swaps width and height (5 to 8), ImageOps.exif_transpose gives
#           the width and height of the file again for grey and RGBA by path; from bytes, and for RGB,
#           the upright picture.
# Matters:  a dataset of scans is turned or not by how it is opened, and masks or landmarks that are
#           read the other way no longer fit.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
environment/bin/python - <<'PYTHON'
import io

import PIL
from PIL import Image, ImageOps

print("pillow", PIL.__version__)


def sizes(mode, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.new(mode, (28, 20)).save("picture.tif", exif=exif)
    with open("picture.tif", "rb") as file:
        content = file.read()
    found = []
    for source in ("picture.tif", io.BytesIO(content)):
        with Image.open(source) as opened:
            found.append(ImageOps.exif_transpose(opened).size)
    return found


for mode in ("L", "RGBA", "RGB"):
    by_path, from_bytes = sizes(mode, 6)
    print(f"{mode:4} 28 x 20, orientation 6: by path {by_path}, from bytes {from_bytes}")
    assert from_bytes == (20, 28)
    assert by_path == ((20, 28) if mode == "RGB" else (28, 20))
PYTHON
