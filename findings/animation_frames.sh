#!/usr/bin/env bash
# Pillow leaves out equal frames of an animation, in PNG and WebP as in GIF; TIFF and AVIF keep them.
#
# Versions: pillow 13.0.0.
# Guessed:  GIF merges equal frames (an old habit of its writers); PNG, WebP, TIFF and AVIF keep all.
# So:       GIF, PNG and WebP write 3 frames of 7 and add up the durations; TIFF and AVIF write 7.
# Matters:  an animation of features over the epochs (Fig. 4 of the paper) has a frame an epoch; where
#           nothing changed, the frame is missing, and frame 5 is no longer epoch 5. A dead feature
#           map is an animation of one frame. Read the durations, or store the pictures apart.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check pillow==13.0.0
environment/bin/python - <<'PYTHON'
import PIL
from PIL import Image

print("pillow", PIL.__version__)
epochs = [Image.new("RGB", (16, 16), (v, v, v)) for v in (0, 0, 100, 100, 100, 200, 200)]
counts = {}
for kind in ("GIF", "PNG", "WEBP", "TIFF", "AVIF"):
    epochs[0].save(
        f"epochs.{kind}", kind, save_all=True, append_images=epochs[1:], duration=100
    )
    with Image.open(f"epochs.{kind}") as animation:
        counts[kind] = animation.n_frames
    print(f"{kind:5} {len(epochs)} frames saved, {counts[kind]} frames read")
assert counts == {"GIF": 3, "PNG": 3, "WEBP": 3, "TIFF": 7, "AVIF": 7}, counts
PYTHON
