"""The top images, kept while a stream goes by that cannot be read again."""

from collections.abc import Sequence

import torch
from torch import Tensor


class KeptImages:
    """Images that are among the strongest, by dataset index.

    Memory is bounded by the number of top images, whatever the length of the stream: an image that
    is no longer among the strongest of any feature map is dropped.
    """

    def __init__(self) -> None:
        #: Image and label.
        self._kept: dict[int, tuple[Tensor, int]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def update(
        self, images: Tensor, indices: Tensor, top: Tensor, labels: Tensor | None = None
    ) -> None:
        """Take in a batch after the top activations have.

        Args:
            images: `[N, ...]` of any type; copied as they are, to the CPU's memory.
            indices: `[N]`, of the dataset.
            top: `[M]`, the indices that are to be kept (`TopActivations.top_indices`).
            labels: `[N]`; -1 if None.
        """
        self.retain(top)
        wanted = set(top.tolist())
        for place, index in enumerate(indices.tolist()):
            if index in wanted and index not in self._kept:
                label = -1 if labels is None else int(labels[place])
                self._kept[index] = images[place].detach().cpu().clone(), label

    def retain(self, indices: Tensor) -> None:
        """Drop all images but `indices` `[M]`, of the dataset."""
        wanted = set(indices.tolist())
        self._kept = {index: kept for index, kept in self._kept.items() if index in wanted}

    def images(self, indices: Sequence[int]) -> Tensor:
        """`[N, ...]`, in the order of `indices`. Raises KeyError for one that is not kept."""
        return torch.stack([self._kept[index][0] for index in indices])

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`[N]` int64."""
        return torch.tensor([self._kept[index][1] for index in indices])

    def state_dict(self) -> dict[str, Tensor]:
        """All of it as tensors, to resume with."""
        if not self._kept:
            return {}
        indices = sorted(self._kept)
        return {
            "indices": torch.tensor(indices),
            "labels": self.labels(indices),
            "images": self.images(indices),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Take in what `state_dict` gave, beside what is there."""
        columns = (
            (state["indices"].tolist(), state["images"], state["labels"].tolist()) if state else ()
        )
        self._kept |= {index: (image, label) for index, image, label in zip(*columns, strict=True)}
