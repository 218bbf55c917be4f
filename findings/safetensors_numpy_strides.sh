#!/usr/bin/env bash
# safetensors saves a transposed NumPy array as if it were not transposed: right shape, wrong values.
#
# Versions: safetensors 0.8.0, numpy 2.4.6.
# Guessed:  an array that is not contiguous is saved right. (safetensors.torch refuses it.)
# So:       the bytes are written in the order of memory, under the shape of the view. Transposed,
#           Fortran-ordered, strided, reversed and broadcast arrays all come back with other values,
#           from save and from save_file, without an error or a warning.
# Matters:  kernels go from [height, width, in, out] to [out, in, height, width] by a transpose. Weights
#           converted so load without complaint, and the network computes something else.
#           numpy.ascontiguousarray before saving helps.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check safetensors==0.8.0 numpy==2.4.6
environment/bin/python - <<'PYTHON'
import numpy
import safetensors
from safetensors.numpy import load, save

print("safetensors", safetensors.__version__, "numpy", numpy.__version__)
kernels = numpy.arange(24.0).reshape(2, 3, 4)
arrays = {
    "contiguous": kernels,
    "transposed": kernels.transpose(2, 0, 1),
    "Fortran order": numpy.asfortranarray(kernels),
    "every second": kernels[:, ::2],
    "reversed": kernels[::-1],
    "broadcast": numpy.broadcast_to(numpy.arange(3.0), (2, 3)),
    "made contiguous": numpy.ascontiguousarray(kernels.transpose(2, 0, 1)),
}
same = {}
for name, array in arrays.items():
    loaded = load(save({"weight": array}))["weight"]
    same[name] = loaded.shape == array.shape and numpy.array_equal(loaded, array)
    print(f"{name:16} shape {loaded.shape}  {'equal' if same[name] else 'OTHER VALUES'}")
assert [name for name, equal in same.items() if equal] == ["contiguous", "made contiguous"]
PYTHON
