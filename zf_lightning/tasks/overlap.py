"""task=overlap: images shared by a transfer set and the pretraining set (Sec. 5.2).

`data=…` is the transfer set; the other is the checkpoint's training images, or any folder.
"""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from zf_lightning.analysis.overlap import Pair, correlated_pairs, signatures
from zf_lightning.data import LabelledFiles, SampleKey, image_names, whole_set
from zf_lightning.errors import UserError
from zf_lightning.figures.pairs import pair_sheet
from zf_lightning.inspection.subject import file_loader, finish
from zf_lightning.results.tables import Table
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
    known = whole_set(assembly.build_source(config)).files
    others = pretraining_files(config)
    folder = Path(config.paths.run)
    log.info(f"Searching {len(others):,} images for {len(known):,} of {config.data.name}")
    parts = [part for _, part in _signatures(config, known, "transfer set")]
    pairs = correlated_pairs(
        torch.cat(parts), _signatures(config, others, "pretraining set"), threshold=threshold
    )
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


def _signatures(
    config: DictConfig, files: LabelledFiles, what: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Positions and signatures of the files, part by part."""
    keys = [SampleKey(position) for position in range(len(files))]
    loader = file_loader(config, files, batch_size=256, sampler=keys)
    with tqdm(total=len(files), desc=what, unit="image") as bar:
        for images, _, positions, weights in loader:
            # Unreadable files are black pictures, which match nothing.
            for position in positions[weights.isnan()].tolist():
                log.warning(f"{files.path(position)} cannot be read and is left out.")
            yield positions, signatures(images)
            bar.update(len(images))


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
