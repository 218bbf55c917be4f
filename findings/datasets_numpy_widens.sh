#!/usr/bin/env bash
# datasets gives uint8 arrays as int64 and float64 as float32 once the format is "numpy".
#
# Versions: datasets 5.2.0, numpy 2.4.6.
# Guessed:  arrays come back with the type that the features show.
# So:       the features say uint8 and float64; with_format("numpy") gives int64 and float32. A scalar
#           of the same column type stays float64.
# Matters:  pixels take eight times the memory, and code that asks for the type (structural similarity,
#           image writers) takes the range of int64 for that of the pixels. Activations that agreed to
#           1e-12 agree to 1e-7.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check datasets==5.2.0 numpy==2.4.6
export HF_HUB_OFFLINE=1 HF_HOME="$folder/home"
environment/bin/python - <<'PYTHON'
import datasets
import numpy

datasets.disable_progress_bars()
print("datasets", datasets.__version__, "numpy", numpy.__version__)
pixels = numpy.full((4, 4), 200, numpy.uint8)
values = numpy.linspace(0, 1, 3)
data = datasets.Dataset.from_dict({"index": [0]}).map(
    lambda row: {"pixels": pixels, "values": values, "one": numpy.float64(0.1)}
)
row = data.with_format("numpy")[0]
for name in ("pixels", "values", "one"):
    print(f"{name}: stored as {data.features[name]}, given as {row[name].dtype}")
assert row["pixels"].dtype == numpy.int64 and row["values"].dtype == numpy.float32
assert row["one"].dtype == numpy.float64
assert "uint8" in str(data.features["pixels"]) and "float64" in str(data.features["values"])
PYTHON
