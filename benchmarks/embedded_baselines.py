"""How far one gets on the embedded dataset without spatial features.

    python benchmarks/embedded_baselines.py --root FOLDER [--result outputs/.../result.json]

Linear classifiers (multinomial logistic regression on standardised features) on raw pixels and on
colour histograms, fitted on the training split, their regularisation chosen on the validation
split; with --result, a trained network's accuracies beside them. About two minutes on two cores.
"""

import argparse
import json
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

SPLITS = ("train", "val", "test")


@dataclass
class Features:
    """Features [N, D] of each split under a name, and the penalties to choose from."""

    name: str
    of: dict[str, np.ndarray]
    inverse_penalties: tuple[float, ...]


def read_split(root: Path, split: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pixels uint8 [N, 64, 64, 3], colour histograms float32 [N, 512] and labels [N]."""
    names = sorted(folder.name for folder in (root / split).iterdir() if folder.is_dir())
    pixels, histograms, labels = [], [], []
    for label, name in enumerate(names):
        for file in sorted((root / split / name).glob("*.jpg")):
            image = Image.open(file).convert("RGB")
            levels = np.asarray(image).reshape(-1, 3).astype(np.int64) // 32
            bins = np.bincount(levels @ [64, 8, 1], minlength=512)
            pixels.append(np.asarray(image.resize((64, 64), Image.Resampling.BOX)))
            # Square roots: what makes histograms work in linear classifiers (Hellinger).
            histograms.append(np.sqrt(bins / bins.sum()).astype(np.float32))
            labels.append(label)
    if not labels:
        raise SystemExit(f"{root / split} holds no JPEG images; give the dataset's folder.")
    return np.stack(pixels), np.stack(histograms), np.array(labels)


def raw(pixels: np.ndarray, side: int) -> np.ndarray:
    """Pixels uint8 [N, 64, 64, 3] averaged to [N, side, side, 3], flattened, 0..1."""
    cell = 64 // side
    cells = pixels.reshape(-1, side, cell, side, cell, 3).mean((2, 4), dtype=np.float32)
    return (cells / 255).reshape(len(pixels), -1)


def best_linear(features: Features, labels: dict[str, np.ndarray]) -> tuple[float, float]:
    """Test accuracy in percent of the penalty that is best on the validation split; and it."""
    scores = {}
    for inverse_penalty in features.inverse_penalties:
        model = make_pipeline(
            StandardScaler(), LogisticRegression(C=inverse_penalty, max_iter=150, tol=1e-3)
        )
        with warnings.catch_warnings():
            # Stopping early regularises too; the validation split judges the outcome.
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(features.of["train"], labels["train"])
        scores[inverse_penalty] = [
            100 * model.score(features.of[split], labels[split]) for split in ("val", "test")
        ]
    best = max(scores, key=lambda inverse_penalty: scores[inverse_penalty][0])
    return scores[best][1], best


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("--root", type=Path, required=True, help="folder of the embedded dataset")
    parser.add_argument("--result", type=Path, help="result.json of a tested network")
    arguments = parser.parse_args()

    data = {split: read_split(arguments.root, split) for split in SPLITS}
    labels = {split: data[split][2] for split in SPLITS}
    candidates = [
        Features(
            f"linear on {side}×{side} RGB pixels",
            {split: raw(data[split][0], side) for split in SPLITS},
            (1e-5, 1e-4, 1e-3, 1e-2),
        )
        for side in (32, 64)
    ]
    histograms = {split: data[split][1] for split in SPLITS}
    candidates.append(
        Features("linear on 8×8×8 RGB histograms", histograms, (1e-4, 1e-3, 1e-2, 1e-1))
    )

    counts = ", ".join(f"{len(labels[split])} {split}" for split in SPLITS)
    print(f"{arguments.root}: {counts} images\n")
    print(f"{'classifier':<34}{'test accuracy':>14}{'images':>8}")
    tested = len(labels["test"])
    for features in candidates:
        accuracy, inverse_penalty = best_linear(features, labels)
        print(f"{features.name:<34}{accuracy:>12.1f} %{tested:>8}   C = {inverse_penalty:g}")
    if arguments.result:
        result = json.loads(arguments.result.read_text())
        for key, name in (
            ("test/top1_error", "network, one crop"),
            ("test/top1_error_tencrop", "network, ten crops"),
        ):
            if key in result:
                print(f"{name:<34}{100 - result[key]:>12.1f} %{tested:>8}   {arguments.result}")


if __name__ == "__main__":
    main()
