#!/usr/bin/env bash
# OpenCV turns a photograph as its camera says, or not, or does not read it, by its file format.
#
# Versions: opencv-python-headless 5.0.0.93, pillow 13.0.0, numpy 2.4.6.
# Guessed:  JPEG is turned; PNG, WebP, TIFF and AVIF are read as they are stored.
# So:       JPEG, PNG and WebP are turned. AVIF never is. TIFF is turned where width and height stay
#           (orientations 2 to 4); where they change places (5 to 8) imread gives None.
# Matters:  a dataset that is converted from one format to another changes the pictures that a network
#           sees, and landmarks no longer fit them; a phone's upright TIFF is a missing file.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check opencv-python-headless==5.0.0.93 pillow==13.0.0 numpy==2.4.6
export OPENCV_LOG_LEVEL=SILENT
environment/bin/python - <<'PYTHON'
import cv2
import numpy
import PIL
from PIL import Image, ImageOps

print("opencv", cv2.__version__, "pillow", PIL.__version__)
rows, columns = numpy.mgrid[:64, :96]
photo = Image.fromarray(
    numpy.stack([columns * 2, rows * 3, rows + columns], axis=-1).astype(numpy.uint8)
)


def outcome(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossy = {"quality": 100} if kind in ("jpeg", "webp", "avif") else {}
    photo.save(f"photo.{kind}", exif=exif, **lossy)
    with Image.open(f"photo.{kind}") as image:
        stored = numpy.asarray(image).astype(int)
        upright = numpy.asarray(ImageOps.exif_transpose(image)).astype(int)
    read = cv2.imread(f"photo.{kind}")
    if read is None:
        return "None"
    read = read[..., ::-1].astype(int)
    for name, expected in (("upright", upright), ("as stored", stored)):
        if read.shape == expected.shape and abs(read - expected).max() < 9:
            return name
    return "neither"


kinds = ("jpeg", "png", "webp", "tiff", "avif")
found = {kind: [outcome(kind, number) for number in range(2, 9)] for kind in kinds}
for kind, outcomes in found.items():
    print(f"{kind:5} orientations 2 to 8: {', '.join(outcomes)}")
for kind in ("jpeg", "png", "webp"):
    assert found[kind] == ["upright"] * 7
assert found["tiff"] == ["upright"] * 3 + ["None"] * 4
assert found["avif"] == ["as stored"] * 7
PYTHON
