#!/usr/bin/env bash
# litdata stores the numbers of a palette picture, and not its palette.
#
# Versions: litdata 0.2.76, Pillow 12.0.0, torch 2.9.1 (CPU, x86-64).
# Guessed:  a picture that is given to `optimize` comes back with the colours that its file has.
# So:       a PNG or GIF with a palette (mode P) comes back in mode P with no palette: converted to RGB it is
#           black. Nothing is said. RGB pictures come back as they are.
# Matters:  class folders from the web hold palette PNG and GIF under any ending. A network is trained on
#           black pictures with labels, and whatever looks for the images that excite a feature map finds them.
#           Convert to RGB before `optimize`.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check litdata==0.2.76 pillow==12.0.0 torch==2.9.1 torchvision==0.24.1 numpy==2.3.5
cat > store.py <<'PYTHON'
from importlib.metadata import version

from litdata import StreamingDataset, optimize
from PIL import Image


def sample(name):
    return {"image": Image.open(name), "label": 0}


if __name__ == "__main__":
    print("litdata", version("litdata"), "Pillow", version("pillow"))
    picture = Image.new("RGB", (40, 40), (220, 30, 30))
    picture.paste((30, 60, 220), (0, 20, 40, 40))
    picture.save("rgb.png")
    picture.convert("P", palette=Image.Palette.ADAPTIVE, colors=2).save("palette.png")
    names = ["rgb.png", "palette.png"]
    optimize(fn=sample, inputs=names, output_dir="stored", chunk_bytes="1MB", num_workers=1)
    for name, stored in zip(names, StreamingDataset("stored", shuffle=False), strict=True):
        was, now = Image.open(name), stored["image"]
        colours = [[image.convert("RGB").getpixel((5, row)) for row in (5, 35)] for image in (was, now)]
        print(f"{name}: mode {was.mode} and {now.mode}, colours of the file {colours[0]}, as stored {colours[1]}")
        assert (colours[0] == colours[1]) == (name == "rgb.png"), "litdata does something else now"
        grey = all(len(set(colour)) == 1 for colour in colours[1])
        assert grey == (name == "palette.png")
PYTHON
environment/bin/python store.py 2>&1 | grep -E "^litdata|png|Error|now"
