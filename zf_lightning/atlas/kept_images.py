"""The images of the winners, kept while a stream goes by that cannot be read again."""

from collections.abc import Sequence

import torch
from torch import Tensor


class KeptImages:
    """Images that are among the strongest, by dataset index.

    Memory is bounded by the number of winners, whatever the length of the stream: an image that is
    no longer among the strongest of any feature map is dropped.
    """

    def __init__(self) -> None:
        self._images: dict[int, Tensor] = {}
        self._labels: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self._images)

    def update(
        self, images: Tensor, indices: Tensor, winners: Tensor, labels: Tensor | None = None
    ) -> None:
        """Take in a batch after the top activations have.

        Args:
            images: `[N, ...]` of any type; kept as they are, in the CPU's memory.
            indices: `[N]`, of the dataset.
            winners: `[M]`, the indices that are to be kept (`TopActivations.winners`).
            labels: `[N]`; -1 if None.
        """
        wanted = set(winners.tolist())
        for index in self._images.keys() - wanted:
            del self._images[index], self._labels[index]
        for place, index in enumerate(indices.tolist()):
            if index in wanted and index not in self._images:
                self._images[index] = images[place].detach().cpu().clone()
                self._labels[index] = int(labels[place]) if labels is not None else -1

    def images(self, indices: Sequence[int]) -> Tensor:
        """`[N, ...]`, in the order of `indices`. Raises KeyError for one that is not kept."""
        return torch.stack([self._images[index] for index in indices])

    def labels(self, indices: Sequence[int]) -> Tensor:
        """`[N]` int64."""
        return torch.tensor([self._labels[index] for index in indices])

    def state_dict(self) -> dict[str, Tensor]:
        """All of it as tensors, to go on with later."""
        indices = sorted(self._images)
        if not indices:
            return {}
        return {
            "indices": torch.tensor(indices),
            "labels": self.labels(indices),
            "images": self.images(indices),
        }

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Go on with what `state_dict` gave."""
        indices = state["indices"].tolist() if state else []
        self._images = dict(zip(indices, state["images"], strict=True)) if state else {}
        self._labels = dict(zip(indices, state["labels"].tolist(), strict=True)) if state else {}
