"""Search for the top-k images of every feature map of a split: one pass, which can be resumed."""

import logging
import time
from pathlib import Path

import torch
from tqdm import tqdm

from zf_lightning.atlas import KeptImages, TopActivations, TopImages
from zf_lightning.data.loader import BatchLoader
from zf_lightning.deconv import Deconvnet
from zf_lightning.deconv.precision import full_precision
from zf_lightning.errors import DamagedFile, UserError
from zf_lightning.system.compat import mark_updated
from zf_lightning.system.sealed import read_tensors, write_tensors
from zf_lightning.training.module import ImageClassifier

log = logging.getLogger(__name__)


class AtlasSearch:
    """Goes once over a split, and saves what it has found from time to time.

    Args:
        classifier: in evaluation mode, on its device.
        deconvnet: of the classifier's network.
        layers: whose feature maps are searched.
        top: images of each feature map.
        file: saved search; one with another `key` is refused.
        key: a digest of all that the outcome depends on.
        keep_images: keep the pixels (uint8) of the top-k images in `cache`.
        save_every: seconds.
    """

    def __init__(
        self,
        classifier: ImageClassifier,
        deconvnet: Deconvnet,
        layers: list[str],
        *,
        top: int,
        file: Path,
        key: str,
        keep_images: bool,
        save_every: float,
    ) -> None:
        size = classifier.preprocessing.input_size
        shapes = deconvnet.shapes(layers, (size, size))
        self.classifier, self.deconvnet, self.layers = classifier, deconvnet, layers
        self.metric = TopActivations({layer: shapes[layer][0] for layer in layers}, k=top)
        self.metric.to(classifier.device)
        self.cache = KeptImages() if keep_images else None
        self.file, self.key, self.save_every = file, key, save_every
        #: Images seen, of those that could be read.
        self.images = 0

    @torch.inference_mode()
    def run(self, loader: BatchLoader) -> dict[str, TopImages]:
        """The top-k images of each layer; resumes where an earlier run was stopped.

        Raises UserError if the file belongs to another search.
        """
        batches = self._load()
        loader.load_state_dict({**loader.state_dict(), "batches": batches})
        saved = time.monotonic()
        with tqdm(total=len(loader), initial=batches, desc="searching", unit="batch") as bar:
            for batch in loader:
                inputs = self.classifier.preprocessing(batch.images.to(self.classifier.device))
                with full_precision(inputs.device):
                    # As they are computed again for the projection.
                    outputs = self.deconvnet.feature_maps(inputs, self.layers)
                valid = batch.valid
                self.metric.update(outputs, batch.indices, valid)
                if self.cache is not None:
                    self.cache.update(
                        batch.images[valid],
                        batch.indices[valid],
                        self.metric.top_indices(),
                        batch.labels[valid],
                    )
                self.images += int(valid.sum())
                batches += 1
                bar.update()
                if time.monotonic() - saved > self.save_every:
                    self._save(batches)
                    saved = time.monotonic()
        self._save(batches)
        return {layer: top.cpu() for layer, top in self.metric.compute().items()}

    def _save(self, batches: int) -> None:
        tensors = {f"metric/{name}": value for name, value in self.metric.state_dict().items()}
        if self.cache is not None:
            tensors |= {f"kept/{name}": value for name, value in self.cache.state_dict().items()}
        header = {"key": self.key, "batches": batches, "images": self.images}
        write_tensors(self.file, "search", tensors, header)

    def _load(self) -> int:
        """Restore the saved search; returns how many batches it has seen."""
        try:
            header, tensors = read_tensors(self.file, "search")
            if not {"key", "batches", "images"} <= set(header):
                raise DamagedFile.at(self.file)
        except FileNotFoundError:
            return 0
        except DamagedFile as damage:
            log.warning(f"{damage} The search begins anew.")
            return 0
        if header["key"] != self.key:
            raise UserError(
                f"{self.file.parent} contains an atlas of another network, data, batch size, "
                "layers, top, split or keep_images: give the same again, or another folder."
            )
        parts: dict[str, dict[str, torch.Tensor]] = {"metric": {}, "kept": {}}
        for name, value in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][rest] = value
        self.metric.load_state_dict(parts["metric"])
        mark_updated(self.metric, header["batches"])
        if self.cache is not None:
            self.cache.load_state_dict(parts["kept"])
        self.images = header["images"]
        return int(header["batches"])
