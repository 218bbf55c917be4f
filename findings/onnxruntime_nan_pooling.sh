#!/usr/bin/env bash
# ONNX Runtime's max pooling drops a NaN or keeps it, depending on where in the map it lies.
#
# Versions: onnxruntime 1.32.0, onnx 1.23.2, numpy 2.4.6 (CPU, x86-64).
# Guessed:  a NaN comes through, as through Relu, and as in numpy.max and PyTorch.
# So:       one NaN is put into each of the 64 places of an 8x8 map in turn. Relu keeps it every time;
#           MaxPool of 2x2 in 16 places (the first of each window), GlobalMaxPool and ReduceMax in 1.
# Matters:  a network that has diverged looks alive after pooling: its output is finite, and the feature
#           map that is broken is found only by reading maps before the pool. Check there.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check onnxruntime==1.32.0 onnx==1.23.2 numpy==2.4.6
environment/bin/python - <<'PYTHON'
import numpy
import onnx
import onnxruntime
from onnx import TensorProto, helper

print("onnxruntime", onnxruntime.__version__, "onnx", onnx.__version__)


def session(operation, **options):
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, [1, 1, 8, 8])
    result = helper.make_empty_tensor_value_info("result")
    node = helper.make_node(operation, ["images"], ["result"], **options)
    graph = helper.make_graph([node], "graph", [images], [result])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )


operations = {
    "Relu": session("Relu"),
    "ReduceMax": session("ReduceMax", axes=[2, 3]),
    "MaxPool of 2x2": session("MaxPool", kernel_shape=[2, 2], strides=[2, 2]),
    "MaxPool of 3x3, stride 2": session("MaxPool", kernel_shape=[3, 3], strides=[2, 2]),
    "GlobalMaxPool": session("GlobalMaxPool"),
}
kept = {}
for name, operation in operations.items():
    places = []
    for place in range(64):
        images = numpy.arange(64, dtype=numpy.float32)
        images[place] = numpy.nan
        (result,) = operation.run(None, {"images": images.reshape(1, 1, 8, 8)})
        places.append(bool(numpy.isnan(result).any()))
    # Windows of 3x3 at stride 2 leave the last row and column out.
    seen = 49 if "3x3" in name else 64
    kept[name] = sum(places) / seen
    print(f"{name:25} keeps the NaN in {sum(places)} of {seen} places")
assert kept.pop("Relu") == 1
assert all(0 < share < 0.5 for share in kept.values())
PYTHON
