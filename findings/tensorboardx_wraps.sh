#!/usr/bin/env bash
# tensorboardX shows a pixel slightly too bright as black, and one slightly below zero as white.
#
# Versions: tensorboardX 2.6.5, tensorboard 2.21.0, pillow 13.0.0, numpy 2.4.6.
# Guessed:  values outside 0..1 are clipped, as torch.utils.tensorboard does.
# So:       they are multiplied by 255 and wrap around modulo 256: 1.01 is 1, -0.1 is 231, 2.0 is 254.
#           Float pictures that run from 0 to 255 become noise.
# Matters:  projections, undone normalisations and reconstructions overshoot by a little. The brightest
#           and the darkest places of the picture then change sides. Clip before add_image.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check tensorboardX==2.6.5 tensorboard==2.21.0 pillow==13.0.0 numpy==2.4.6
environment/bin/python - <<'PYTHON'
import io

import numpy
import tensorboardX
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

print("tensorboardX", tensorboardX.__version__, "numpy", numpy.__version__)
values = numpy.array([0, 0.5, 1, 1.01, 2, -0.1], numpy.float32)
with tensorboardX.SummaryWriter("events") as writer:
    writer.add_image("picture", numpy.tile(values, (3, 1, 1)))
events = EventAccumulator("events").Reload()
with Image.open(io.BytesIO(events.Images("picture")[0].encoded_image_string)) as picture:
    shown = numpy.asarray(picture)[0, :, 0].tolist()
for value, pixel in zip(values.tolist(), shown, strict=True):
    print(f"{value:5.2f} is shown as {pixel}")
assert shown == [0, 127, 255, 1, 254, 231], shown
PYTHON
