"""Search for the top-k images of every feature map of a split."""

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from zf_lightning.atlas import ActivationSurvey, KeptImages, Survey
from zf_lightning.data import Batch
from zf_lightning.deconv import Deconvnet
from zf_lightning.deconv.precision import full_precision
from zf_lightning.inspection.image_pass import MetricPass
from zf_lightning.training.module import ImageClassifier

#: Up to here the strongest activations of all images are kept, for the scores by class.
VALUES_BYTES = 2**30


class AtlasSearch(MetricPass):
    """Finds the top-k images of each layer, and how all images excite it (`Survey`).

    Args:
        classifier: in evaluation mode.
        deconvnet: of the classifier's network.
        layers: whose feature maps are searched.
        images: how many will be seen.
        top: images of each feature map.
        file, key, save_every: see `MetricPass`.
        keep_images: keep the pixels (uint8) of the top-k images in `cache`.
    """

    found: Survey

    def __init__(
        self,
        classifier: ImageClassifier,
        deconvnet: Deconvnet,
        layers: list[str],
        *,
        images: int,
        top: int,
        file: Path,
        key: str,
        keep_images: bool,
        save_every: float,
    ) -> None:
        size = classifier.preprocessing.input_size
        shapes = deconvnet.shapes(layers, (size, size))
        maps = {layer: shapes[layer][0] for layer in layers}
        keep_values = 4 * images * sum(maps.values()) <= VALUES_BYTES
        survey = ActivationSurvey(maps, k=top, keep_values=keep_values)
        super().__init__(
            survey,
            file=file,
            key=key,
            kind="search 2",
            save_every=save_every,
            other=f"{file.parent} contains an atlas of another network, data, batch size, "
            "layers, top, split or keep_images: give the same again, or another folder.",
        )
        self.survey = survey
        self.classifier, self.deconvnet, self.layers = classifier, deconvnet, layers
        self.cache = KeptImages() if keep_images else None

    def take(self, batch: Batch) -> None:
        """Compare the feature maps of a batch with the strongest so far."""
        inputs = self.classifier.preprocessing(batch.images)
        with full_precision(inputs.device):
            # As they are computed again for the projection.
            outputs = self.deconvnet.feature_maps(inputs, self.layers)
        valid = batch.valid
        self.survey.update(outputs, batch.indices, valid)
        if self.cache is not None:
            self.cache.update(
                batch.images[valid],
                batch.indices[valid],
                self.survey.top_indices(),
                batch.labels[valid],
            )

    def on_validation_epoch_end(self) -> None:
        """Give every process the kept images: it may project any of them."""
        super().on_validation_epoch_end()
        if self.cache is not None:
            indices = torch.cat([top.indices.flatten() for top in self.found.top.values()])
            self.cache = self._kept_by_all(self.cache, indices)

    def more_tensors(self) -> dict[str, Tensor]:
        """The top-k images, if they are kept."""
        if self.cache is None:
            return {}
        kept = self._kept_by_all(self.cache, self.survey.top_indices()).state_dict()
        return {f"kept/{name}": value for name, value in kept.items()}

    def load_more(self, tensors: Mapping[str, Tensor]) -> None:
        """Restore the kept images."""
        if self.cache is not None:
            prefix = "kept/"
            kept = {n.removeprefix(prefix): v for n, v in tensors.items() if n.startswith(prefix)}
            self.cache.load_state_dict(kept)

    def _kept_by_all(self, cache: KeptImages, indices: Tensor) -> KeptImages:
        """The images `indices` that any process has kept."""
        kept, strategy = KeptImages(), self.trainer.strategy
        for process in range(self.trainer.world_size):
            kept.load_state_dict(strategy.broadcast(cache.state_dict(), process))
            kept.retain(indices)
        return kept
