"""The images that excite each feature map most, found in a stream of batches (Sec. 4.1, Fig. 2).

Of each feature map the `k` strongest images are kept, each represented by its strongest position.
The order is total: value descending, then dataset index ascending, then position in reading order.
So the result depends on the activations alone, not on how they were cut into batches, in which
order these came, how many processes shared them, or whether the run was interrupted.

What is kept is one int64 table `[C, k, 4]` a layer, its columns being the value as an integer that
sorts like it, the dataset index, the row and the column: merging is then sorting integers.
"""

import functools
import re
from collections.abc import Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from zf_lightning.errors import UserError

KEY, INDEX, ROW, COLUMN = range(4)
#: Sorts behind every number; no float32 has this key, only a NaN could.
EMPTY_KEY = -(2**31)
#: Sorts behind every dataset index.
EMPTY_INDEX = 2**63 - 1


#: Feature maps `[N, C, H, W]`, their strongest activations, and which of them hold a NaN.
Strongest = tuple[Tensor, Tensor, Tensor]


class TopImages:
    """The strongest images of every feature map of a layer, strongest first.

    An activation of 0 is kept like any other: after a ReLU it marks a feature map that fewer than
    `k` images excite, and a tile that has nothing to show. Where there were fewer than `k` images
    the index is -1 and the activation -inf.

    Args:
        activations: `[C, k]` float32.
        indices: `[C, k]` int64, of the dataset.
        rows, columns: `[C, k]` int64, where in the feature map the image is strongest.
        nans: `[C]` int64, in how many images the feature map held a NaN.
    """

    # Not a dataclass: torchmetrics would squeeze its tensors where they hold a single element.
    def __init__(
        self, activations: Tensor, indices: Tensor, rows: Tensor, columns: Tensor, nans: Tensor
    ) -> None:
        self.activations = activations
        self.indices = indices
        self.rows = rows
        self.columns = columns
        self.nans = nans

    def cpu(self) -> "TopImages":
        """The same in the CPU's memory."""
        names = ("activations", "indices", "rows", "columns", "nans")
        return TopImages(*(getattr(self, name).cpu() for name in names))

    @property
    def present(self) -> Tensor:
        """`[C, k]` bool: where there is an image."""
        return self.indices >= 0


class TopActivations(Metric):
    """For every feature map of several layers, its `k` strongest images in a stream of batches.

    A dataset index that comes more than once counts once, with its strongest activation. A NaN is
    never a top activation: it is counted, and the image's other positions compete.

    Args:
        feature_maps: number of feature maps of each layer.
        k: how many images are kept of each feature map.
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    def __init__(self, feature_maps: Mapping[str, int], *, k: int = 9) -> None:
        # Without a cache: states that are merged or loaded would not clear it.
        super().__init__(compute_with_cache=False)
        if k < 1:
            raise UserError(f"k={k}: at least one image of each feature map is kept.")
        self.k = k
        self.feature_maps = dict(feature_maps)
        for layer, maps in self.feature_maps.items():
            table = torch.zeros(maps, k, 4, dtype=torch.int64)
            table[..., KEY], table[..., INDEX] = EMPTY_KEY, EMPTY_INDEX
            self.add_state(
                state_name("winners", layer), table, dist_reduce_fx=_merged, persistent=True
            )
            self.add_state(
                state_name("nans", layer),
                torch.zeros(maps, dtype=torch.int64),
                dist_reduce_fx="sum",
                persistent=True,
            )

    @torch.no_grad()
    def update(
        self, outputs: Mapping[str, Tensor], indices: Tensor, valid: Tensor | None = None
    ) -> None:
        """Take in one batch.

        Args:
            outputs: `[N, C, H, W]` or `[N, C]` for each layer, of any floating type; compared as
                float32.
            indices: `[N]`, each image's index in the dataset.
            valid: `[N]` bool; False for samples that only pad the batch. All are, if None.

        Raises:
            UserError: a layer is missing or has another number of feature maps, or an index is
                negative.
        """
        indices = indices.to(self.device, torch.int64)
        valid = (
            torch.ones_like(indices, dtype=torch.bool)
            if valid is None
            else valid.to(indices.device)
        )
        if bool((indices[valid] < 0).any()):
            raise UserError("A dataset index is negative: the index has to come with the batch.")
        for layer, maps in self.feature_maps.items():
            if layer not in outputs or outputs[layer].shape[:2] != (len(indices), maps):
                found = list(outputs[layer].shape) if layer in outputs else "nothing"
                raise UserError(
                    f"{layer}: {len(indices)} images × {maps} maps expected, not {found}."
                )
        # The whole cost of an ordinary batch: one pass for the strongest value of each image.
        batch = {layer: strongest_of(outputs[layer]) for layer in self.feature_maps}
        self._take(batch, indices, valid)

    def _take(self, batch: Mapping[str, Strongest], indices: Tensor, valid: Tensor) -> None:
        """Take in the valid images of a batch."""
        while bool(valid.any()):
            # An image that is twice in the batch must not take two of the k places.
            once = _first_occurrences(indices, valid)
            for layer in self.feature_maps:
                self._update_layer(layer, batch[layer], indices, once)
            valid = valid & ~once

    def top_indices(self) -> Tensor:
        """int64 `[M]`: the dataset indices, by now, of the strongest images of all layers."""
        tables = [getattr(self, state_name("winners", layer)) for layer in self.feature_maps]
        found = [table[..., INDEX] for table in tables]
        every = torch.cat([indices.flatten() for indices in found]).unique()
        return every[every != EMPTY_INDEX]

    def compute(self) -> dict[str, TopImages]:
        """The strongest images of each layer over all processes, each of which must call it."""
        return {
            layer: top_images(
                getattr(self, state_name("winners", layer)),
                getattr(self, state_name("nans", layer)).clone(),
            )
            for layer in self.feature_maps
        }

    def _update_layer(self, layer: str, of: Strongest, indices: Tensor, valid: Tensor) -> None:
        maps, strongest, holds_nan = of
        table_name, nans_name = state_name("winners", layer), state_name("nans", layer)
        table: Tensor = getattr(self, table_name)
        excluded = ~valid[:, None] | strongest.isnan()
        setattr(self, nans_name, getattr(self, nans_name) + (holds_nan & valid[:, None]).sum(0))
        keys = keys_of(strongest)
        weakest = table[:, -1]
        beats = (keys > weakest[:, KEY]) | (
            (keys == weakest[:, KEY]) & (indices[:, None] <= weakest[:, INDEX])
        )
        keys = keys.masked_fill(excluded | ~beats, EMPTY_KEY)
        changed = (keys != EMPTY_KEY).any(0).nonzero()[:, 0]
        if len(changed):
            candidates = self._candidates(maps, changed, keys[:, changed], indices)
            merged = table.clone()
            merged[changed] = _best(table[changed], candidates)
            setattr(self, table_name, merged)

    def _candidates(self, maps: Tensor, which: Tensor, keys: Tensor, indices: Tensor) -> Tensor:
        """The batch's best images `[M, k, 4]` of the feature maps `which` `[M]` by keys `[N, M]`.

        Of equal maxima the first in reading order is the position.
        """
        by_index = indices.argsort()
        order = keys[by_index].argsort(dim=0, descending=True, stable=True)[: self.k]
        images = by_index[order].T
        entries = torch.tensor([EMPTY_KEY, EMPTY_INDEX, 0, 0], device=keys.device)
        entries = entries.repeat(*images.shape, 1)
        present = keys.T.gather(1, images) != EMPTY_KEY
        row, rank = present.nonzero().unbind(1)
        image = images[row, rank]
        key = keys[image, row]
        position = positions_of(maps, image, which[row], values_of(key))
        entries[row, rank] = torch.stack((key, indices[image], *position), -1)
        return entries


def state_name(what: str, layer: str) -> str:
    """The name of a layer's state, in checkpoints too."""
    # A state is an attribute, a layer's name may hold dots.
    return f"{what}_" + re.sub(r"\W", lambda sign: f"_{ord(sign[0]):x}_", layer)


def strongest_of(output: Tensor) -> Strongest:
    """Feature maps `[N, C, H, W]`, their strongest activations, and which of them hold a NaN.

    The strongest are float32 `[N, C]`: of the positions that are no NaN, NaN where none is.
    """
    maps = output.detach()
    if maps.dim() == 2:
        maps = maps[:, :, None, None]
    strongest = maps.amax((2, 3)).float()
    holds_nan = strongest.isnan()
    if bool(holds_nan.any()):
        strongest = maps.nan_to_num(-torch.inf, torch.inf, -torch.inf).amax((2, 3)).float()
        strongest = strongest.masked_fill(maps.isnan().flatten(2).all(2), torch.nan)
    return maps, strongest, holds_nan


def positions_of(
    maps: Tensor, images: Tensor, channels: Tensor, values: Tensor
) -> tuple[Tensor, Tensor]:
    """Rows and columns `[M]` at which feature maps of `[N, C, H, W]` have some values `[M]`.

    Of equal values the first in reading order is the position.
    """
    # In bounded memory.
    step = max(1, 2**22 // max(1, maps.shape[2] * maps.shape[3]))
    found = [torch.empty(0, dtype=torch.int64, device=maps.device)]
    for image, channel, value in zip(
        images.split(step), channels.split(step), values.split(step), strict=True
    ):
        held = maps[image, channel].flatten(1).float() == value[:, None]
        # torch.argmax promises the first of equal maxima.
        found.append(held.to(torch.uint8).argmax(1))
    position = torch.cat(found)
    return position // maps.shape[3], position % maps.shape[3]


def top_images(table: Tensor, nans: Tensor) -> TopImages:
    """What a table `[C, k, 4]` says."""
    present = table[..., KEY] != EMPTY_KEY
    return TopImages(
        torch.where(present, values_of(table[..., KEY]), -torch.inf),
        torch.where(present, table[..., INDEX], -1),
        table[..., ROW].clone(),
        table[..., COLUMN].clone(),
        nans,
    )


def keys_of(values: Tensor) -> Tensor:
    """int64 that sort like float32 `values`; equal values, also 0 and -0, have equal keys."""
    bits = (values + 0.0).contiguous().view(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)


def values_of(keys: Tensor) -> Tensor:
    """The float32 values of `keys_of`."""
    bits = keys.to(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).view(torch.float32)


def _first_occurrences(indices: Tensor, valid: Tensor) -> Tensor:
    """Which of the valid samples come first with their dataset index."""
    places = torch.where(valid, indices, -1 - torch.arange(len(indices), device=indices.device))
    ordered, order = places.sort(stable=True)
    first = torch.ones_like(valid)
    first[order[1:]] = ordered[1:] != ordered[:-1]
    return first & valid


def _best(first: Tensor, second: Tensor) -> Tensor:
    """The best entries `[M, k, 4]` of two tables, each dataset index once."""
    entries = torch.cat([first, second], 1)
    for column in (COLUMN, ROW, INDEX, KEY):
        order = entries[..., column].argsort(dim=1, descending=column == KEY, stable=True)
        entries = entries.gather(1, order[..., None].expand_as(entries))
    # Sorted by index, a repeated one follows its best entry: in memory linear in k.
    index, order = entries[..., INDEX].sort(dim=1, stable=True)
    follows = torch.zeros_like(index, dtype=torch.bool)
    follows[:, 1:] = index[:, 1:] == index[:, :-1]
    repeated = torch.zeros_like(follows).scatter(1, order, follows)
    repeated &= entries[..., KEY] != EMPTY_KEY
    empty = torch.tensor([EMPTY_KEY, EMPTY_INDEX, 0, 0], device=entries.device)
    entries = empty.where(repeated[..., None], entries)
    # Stable: what is not repeated keeps its order and goes first.
    order = repeated.to(torch.uint8).argsort(dim=1, stable=True)[:, : first.shape[1]]
    return entries.gather(1, order[..., None].expand(-1, -1, 4))


def _merged(tables: Tensor) -> Tensor:
    """One table `[C, k, 4]` of those `[P, C, k, 4]` of several processes."""
    return functools.reduce(_best, tables)
