#!/usr/bin/env bash
# Pillow numbers the classes of an index mask anew when it saves a GIF.
#
# Versions: pillow 13.0.0, numpy 2.4.6.
# Guessed:  an image of palette indices comes back with its indices from every format that has palettes.
# So:       PNG, TIFF and BMP keep them. GIF leaves out the colours that are not used and numbers the
#           rest from 0: classes 0, 5, 15, 255 are 0, 1, 2, 3. It looks the same. optimize=False keeps them.
# Matters:  segmentation masks (PASCAL VOC's, parts of objects) are palette images whose indices are the
#           classes, and each file is numbered by the classes that it happens to have.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PYTHON'
import numpy
import PIL
from PIL import Image

print("pillow", PIL.__version__)
classes = numpy.array([0, 5, 15, 255], numpy.uint8).repeat(64).reshape(16, 16)
mask = Image.new("P", (16, 16))
mask.putdata(classes.ravel().tolist())
mask.putpalette([value * factor % 256 for value in range(256) for factor in (1, 7, 13)])
found = {}
for kind, options in (
    ("PNG", {}), ("TIFF", {}), ("BMP", {}), ("GIF", {}), ("GIF", {"optimize": False})
):
    mask.save(f"mask.{kind}", kind, **options)
    with Image.open(f"mask.{kind}") as read:
        assert read.convert("RGB").tobytes() == mask.convert("RGB").tobytes()
        found[kind, str(options)] = sorted(set(numpy.asarray(read).ravel().tolist()))
for (kind, options), values in found.items():
    print(f"{kind:4} {options:19} same colours, classes {values}")
assert found.pop(("GIF", "{}")) == [0, 1, 2, 3]
assert all(values == [0, 5, 15, 255] for values in found.values())
PYTHON
