"""task=overlap: images shared by a transfer set and the pretraining set (Sec. 5.2).

`data=…` is the transfer set; the other is the checkpoint's training images, or any folder.
"""

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor

from zf_lightning.analysis.overlap import SIZE, Pair, correlated_pairs, signatures, sorted_pairs
from zf_lightning.callbacks.first_failure import told_how_it_ends
from zf_lightning.data import Batch, LabelledFiles, image_names, whole_set
from zf_lightning.errors import UserError
from zf_lightning.figures.pairs import pair_sheet
from zf_lightning.inspection.image_pass import MetricPass, RowsByImage, pass_loader
from zf_lightning.inspection.outcome import finish
from zf_lightning.results.tables import Table
from zf_lightning.system.digests import digest_of
from zf_lightning.system.files import write_whole
from zf_lightning.training import build as assembly
from zf_lightning.training.checkpoint import configuration_of, find_checkpoint

log = logging.getLogger(__name__)

#: Pairs on the sheet.
SHOWN = 40


def run(config: DictConfig) -> dict[str, Any]:
    """Find the pairs, list them, and write a list of files for each set.

    Either list can be left out with `data.exclude_files`: the paper removes the images from the
    pretraining set and trains again. Returns the contents of `result.json`.
    """
    threshold = config.overlap.threshold
    trainer = assembly.build_inspection_trainer(config)
    known = whole_set(assembly.build_source(config)).files
    others = pretraining_files(config)
    folder = Path(config.paths.run)
    log.info(f"Searching {len(others):,} images for {len(known):,} of {config.data.name}")
    with told_how_it_ends(trainer, folder):
        first = OverlapPass(config, known, "known")
        first.run(trainer, pass_loader(config, known, trainer))
        second = OverlapPass(config, others, "pairs", torch.from_numpy(first.found[1]))
        second.run(trainer, pass_loader(config, others, trainer))
    if not trainer.is_global_zero:
        return {}
    pairs = sorted_pairs(
        Pair(int(row[0]), int(other), float(row[1]))
        for other, row in zip(*second.found, strict=True)
    )
    for one in (first, second):
        one.file.unlink()
    table = Table(
        "overlap",
        f"Images of {config.data.name} that the pretraining set has too",
        ("transfer set", "pretraining set", "correlation"),
        tuple(
            (known.names[p.first], others.names[p.second], f"{p.correlation:.4f}") for p in pairs
        ),
        (f"Normalised correlation of {threshold} or more, at 32×32 pixels.",),
    )
    table.write(folder / "tables")
    for name, files, positions in (
        ("transfer", known, {pair.first for pair in pairs}),
        ("pretraining", others, {pair.second for pair in pairs}),
    ):
        lines = [f"# task=overlap with overlap.threshold={threshold}; for data.exclude_files"]
        lines += [files.names[position] for position in sorted(positions)]
        write_whole(folder / f"overlap_{name}.txt", "\n".join(lines) + "\n")
    result = {
        "data": config.data.name,
        "threshold": threshold,
        "images": len(known),
        "pretraining_images": len(others),
        "pairs": len(pairs),
        "overlapping_images": len({pair.first for pair in pairs}),
    }
    figures = {"overlap": _sheet(known, others, pairs, threshold=threshold)} if pairs else {}
    text = (
        f"{result['overlapping_images']:,} images are in both, in {len(pairs):,} pairs: "
        f"{folder}/tables/overlap.csv, figures/overlap.png; data.exclude_files="
        f"{folder}/overlap_transfer.txt leaves them out"
    )
    return finish(config, result, figures, [text])


def pretraining_files(config: DictConfig) -> LabelledFiles:
    """The images below `overlap.root`, or those that the checkpoint was trained on.

    Raises UserError if neither is given.
    """
    if config.overlap.root is not None:
        root = Path(config.overlap.root).expanduser()
        names = image_names(root)
        if not names:
            raise UserError(f"overlap.root={root} is not a folder with images.")
        return LabelledFiles(root, names, [0] * len(names))
    if config.ckpt is None:
        raise UserError(
            "task=overlap needs the set to compare with: overlap.root=FOLDER, or ckpt=FILE or "
            "RUN_FOLDER for the images that it was trained on."
        )
    # The options of data on the command line mean the transfer set.
    stored = configuration_of(find_checkpoint(config.ckpt), config, [])
    files = assembly.build_source(stored).split("train")
    if not isinstance(files, LabelledFiles):
        raise UserError("task=overlap compares images in files, and those of ckpt are in shards.")
    return files


class OverlapPass(MetricPass):
    """Signatures of the images of a set, or their pairs with signatures that are known.

    A pair is a row: the known image, and the correlation.
    """

    known: Tensor | None

    def __init__(
        self, config: DictConfig, files: LabelledFiles, name: str, known: Tensor | None = None
    ) -> None:
        folder = Path(config.paths.run)
        parts = [files.content_key(), config.data.batch_size, config.overlap.threshold]
        super().__init__(
            RowsByImage(3 * SIZE**2 if known is None else 2),
            file=folder / f"overlap_{name}.safetensors",
            key=digest_of([json.dumps(parts), b"" if known is None else known.numpy().tobytes()]),
            kind="overlap",
            other=f"{folder} contains an unfinished search of other images, or with another "
            "overlap.threshold or data.batch_size: give the same again, or another folder.",
        )
        self.files, self.threshold = files, config.overlap.threshold
        self.register_buffer("known", known, persistent=False)

    def take(self, batch: Batch) -> None:
        """Compare a batch; unreadable files are black pictures, which match nothing."""
        for position in batch.indices[batch.weights.isnan()].tolist():
            log.warning(f"{self.files.path(position)} cannot be read and is left out.")
        once = batch.valid | batch.weights.isnan()
        positions, found = batch.indices[once], signatures(batch.images[once])
        if self.known is None:
            self.metric.update(positions, found)
            return
        pairs = correlated_pairs(self.known, [(positions, found)], threshold=self.threshold)
        rows = torch.tensor([(p.first, p.correlation) for p in pairs], dtype=torch.float32)
        seconds = torch.tensor([p.second for p in pairs], dtype=torch.int64)
        self.metric.update(seconds.to(self.device), rows.view(-1, 2).to(self.device))


def _sheet(
    known: LabelledFiles, others: LabelledFiles, pairs: Sequence[Pair], *, threshold: float
) -> Image.Image:
    # A person must judge the doubtful ones: as many from the lower end.
    shown = pairs if len(pairs) <= SHOWN else [*pairs[: SHOWN // 2], *pairs[-SHOWN // 2 :]]
    tiles = [
        (
            known[pair.first][0].permute(1, 2, 0).numpy(),
            others[pair.second][0].permute(1, 2, 0).numpy(),
            f"{pair.correlation:.3f}  {known.names[pair.first]}",
        )
        for pair in shown
    ]
    return pair_sheet(
        tiles,
        title="Images in both sets",
        subtitle=f"left: transfer set, right: pretraining set; {len(shown)} of {len(pairs)} pairs, "
        f"the highest and the lowest correlations (at least {threshold})",
    )
