#!/usr/bin/env bash
# scikit-learn's normalize turns features in float16 to zeros.
#
# Versions: scikit-learn 1.9.1, numpy 2.4.6.
# Guessed:  rows of length 1, to three digits; scikit-learn computes in float64 where it matters.
# So:       lengths are summed in float16: above 65,504 the sum is infinite, and the row is divided by it.
#           StandardScaler, PCA, cosine_similarity and the linear classifiers are right. MinMaxScaler
#           is not either where the range of a feature is above 65,504: zeros.
# Matters:  features of frozen networks are kept in float16 to save disk. 4,096 values of about 20 pass
#           the limit. A classifier behind Normalizer then guesses, and says nothing.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check scikit-learn==1.9.1 numpy==2.4.6
environment/bin/python - <<'PYTHON'
import warnings

import numpy
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, Normalizer, StandardScaler, normalize

warnings.simplefilter("ignore")  # numpy's "overflow encountered", which is all that is said
print("scikit-learn", sklearn.__version__, "numpy", numpy.__version__)
random = numpy.random.default_rng(0)
labels = numpy.repeat(numpy.arange(4), 50)
centres = 40 * random.random((4, 4096))
features = numpy.maximum(centres[labels] + random.normal(0, 1, (200, 4096)), 0)
lengths, accuracies = {}, {}
for kind in (numpy.float16, numpy.float32):
    name = numpy.dtype(kind).name
    rows = features.astype(kind)
    lengths[name] = numpy.linalg.norm(normalize(rows).astype(float), axis=1).mean()
    for scaler in (Normalizer(), StandardScaler()):
        model = make_pipeline(scaler, LogisticRegression(max_iter=1000))
        score = model.fit(rows[::2], labels[::2]).score(rows[1::2], labels[1::2])
        accuracies[name, type(scaler).__name__] = score
for kind, length in lengths.items():
    print(f"{kind}: mean length of a normalised row {length:.4f}")
for (kind, scaler), accuracy in accuracies.items():
    print(f"{kind}, {scaler}: accuracy of four classes {accuracy:.2f}")
wide = MinMaxScaler().fit_transform(numpy.array([[-40000], [40000]], numpy.float16))
print("-40000 and 40000 scaled to 0..1:", wide.ravel().tolist())
assert wide.tolist() == [[0], [0]]
assert lengths["float16"] == 0 and abs(lengths["float32"] - 1) < 1e-3
assert accuracies["float16", "Normalizer"] == 0.25
assert accuracies["float16", "StandardScaler"] == accuracies["float32", "Normalizer"] == 1
PYTHON
