"""The training images that may excite each feature map most, gathered while they are learnt."""

from collections.abc import Mapping
from typing import Any

import torch

from zf_lightning.atlas import TopActivations, TopImages
from zf_lightning.data import Batch, LabelledImages
from zf_lightning.deconv import Deconvnet
from zf_lightning.graph import TrainingCapture
from zf_lightning.inspection.top_images import load_training_top_images
from zf_lightning.training.module import ImageClassifier


class TrainingCandidates:
    """The strongest images of each feature map in the training steps of an epoch (Fig. 4).

    In a step the network has the weights of that step, and batch normalisation the statistics of
    that batch: its activations only say which images are candidates. At the end of the epoch all
    candidates, of whichever feature map, go through the network in evaluation mode with the final
    weights, each with the crop and the mirroring that it was trained on, and these activations
    decide and are shown.

    Raises:
        UserError: the output of a layer is not that of a module.
    """

    def __init__(self, deconvnet: Deconvnet, maps: Mapping[str, int], *, top: int) -> None:
        self._deconvnet = deconvnet
        self._candidates = TopActivations(maps, k=top)
        self._final = TopActivations(maps, k=top)
        self._capture = TrainingCapture(deconvnet.graph, list(maps))
        #: The epoch that the candidates are of.
        self._epoch: int | None = None
        self._batch: Batch | None = None

    def to(self, device: torch.device, *, first: bool) -> None:
        """Move to where the feature maps will be; forget what is restored, if not the `first`.

        A checkpoint has the candidates of all processes; one of them resumes with these.
        """
        self._candidates.to(device)
        self._final.to(device)
        if not first:
            self._candidates.reset()

    def expect(self, batch: Batch, *, epoch: int) -> None:
        """Capture the forward pass of a training batch."""
        if epoch != self._epoch:
            self._candidates.reset()
            self._epoch = epoch
        self._batch = batch
        self._capture.start()

    def take(self) -> None:
        """Take in the feature maps of the expected batch, before the backward pass frees them."""
        if self._batch is None:
            return
        self._candidates.update(self._capture.outputs, self._batch.indices, self._batch.valid)
        self.stop()

    def stop(self) -> None:
        """Stop capturing, also where the step was not finished."""
        self._batch = None
        self._capture.stop()

    def top_images(
        self, files: LabelledImages, classifier: ImageClassifier, *, rank: int, processes: int
    ) -> dict[str, TopImages]:
        """Of all candidates the strongest with the weights as they are; on every process."""
        found = self._candidates.compute()
        nans = {layer: images.nans for layer, images in found.items()}
        every = torch.cat([images.indices.flatten() for images in found.values()]).unique()
        own = every[every >= 0].tolist()[rank::processes]
        self._final.reset()
        for start in range(0, len(own), self._deconvnet.batch_size):
            some = own[start : start + self._deconvnet.batch_size]
            batch = load_training_top_images(files, some, classifier, epoch=self._current)
            outputs = self._deconvnet.feature_maps(batch.inputs, self._final.feature_maps)
            self._final.update(outputs, torch.tensor(some))
        top = self._final.compute()
        for layer, images in top.items():
            # Also of images that are no candidates.
            images.nans = nans[layer]
        return top

    def state_dict(self) -> dict[str, Any]:
        """What all processes have gathered of the epoch so far: every process must call it."""
        with self._candidates.sync_context():
            held = {name: value.cpu() for name, value in self._candidates.state_dict().items()}
        return {"epoch": self._epoch, "candidates": held}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        self._epoch = state["epoch"]
        self._candidates.load_state_dict(state["candidates"])

    @property
    def _current(self) -> int:
        assert self._epoch is not None
        return self._epoch
