"""The images that excite each feature map most, found in a stream of batches (Sec. 4.1, Fig. 2).

Of each feature map the `k` strongest images are kept, each represented by its strongest position.
The order is total: value descending, then dataset index ascending, then position in reading order.
So the result depends on the activations alone, not on how they were cut into batches, in which
order these came, how many processes shared them, or whether the run was interrupted.

What is kept is one int64 table `[C, k, 4]` a layer, its columns being the value as an integer that
sorts like it, the dataset index, the row and the column: merging is then sorting integers.
"""

import re
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor
from torchmetrics import Metric

from zf_lightning.errors import UserError

KEY, INDEX, ROW, COLUMN = range(4)
#: Sorts behind every number; no float32 has this key, only a NaN could.
EMPTY_KEY = -(2**31)
#: Sorts behind every dataset index.
EMPTY_INDEX = 2**63 - 1


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
            winners = torch.zeros(maps, k, 4, dtype=torch.int64)
            winners[..., KEY], winners[..., INDEX] = EMPTY_KEY, EMPTY_INDEX
            winners_name, nans_name = _state_names(layer)
            self.add_state(winners_name, winners, dist_reduce_fx=_merged, persistent=True)
            self.add_state(
                nans_name,
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
        while bool(valid.any()):
            # An image that is twice in the batch must not take two of the k places.
            once = _first_occurrences(indices, valid)
            for layer in self.feature_maps:
                self._update_layer(layer, outputs[layer], indices, once)
            valid = valid & ~once

    def winners(self) -> Tensor:
        """int64 `[M]`: the dataset indices, by now, of the strongest images of all layers."""
        found = [getattr(self, _state_names(layer)[0])[..., INDEX] for layer in self.feature_maps]
        every = torch.cat([indices.flatten() for indices in found]).unique()
        return every[every != EMPTY_INDEX]

    def compute(self) -> dict[str, TopImages]:
        """The strongest images of each layer over all processes, each of which must call it."""
        found = {}
        for layer in self.feature_maps:
            winners, nans = (getattr(self, name) for name in _state_names(layer))
            present = winners[..., KEY] != EMPTY_KEY
            found[layer] = TopImages(
                torch.where(present, _value_of(winners[..., KEY]), -torch.inf),
                torch.where(present, winners[..., INDEX], -1),
                winners[..., ROW].clone(),
                winners[..., COLUMN].clone(),
                nans.clone(),
            )
        return found

    def _update_layer(self, layer: str, output: Tensor, indices: Tensor, valid: Tensor) -> None:
        maps = output.detach()
        if maps.dim() == 2:
            maps = maps[:, :, None, None]
        winners_name, nans_name = _state_names(layer)
        winners: Tensor = getattr(self, winners_name)
        # The whole cost of an ordinary batch: one pass for the strongest value of each image.
        strongest = maps.amax((2, 3)).float()
        keys = _key_of(strongest).masked_fill(~valid[:, None], EMPTY_KEY)
        holds_nan = strongest.isnan() & valid[:, None]
        with_nan = bool(holds_nan.any())
        if with_nan:
            setattr(self, nans_name, getattr(self, nans_name) + holds_nan.sum(0))
            image, feature_map = holds_nan.nonzero(as_tuple=True)
            keys[image, feature_map] = _keys_without_nan(maps, image, feature_map)
        weakest = winners[:, -1]
        beats = (keys > weakest[:, KEY]) | (
            (keys == weakest[:, KEY]) & (indices[:, None] <= weakest[:, INDEX])
        )
        beats &= keys != EMPTY_KEY
        changed = beats.any(0).nonzero()[:, 0]
        if not len(changed):
            return
        before, candidates = winners[changed], self._candidates(keys[:, changed], indices)
        if _share_an_image(before, candidates):
            # The same image again, now perhaps as strong at another position.
            candidates = _located(candidates, maps, changed, with_nan=with_nan)
            after = _best(before, candidates)
        else:
            after = _best_of_different(before, candidates)
            after = _located(after, maps, changed, with_nan=with_nan)
        merged = winners.clone()
        merged[changed] = after
        setattr(self, winners_name, merged)

    def _candidates(self, keys: Tensor, indices: Tensor) -> Tensor:
        """The batch's best images `[M, k, 4]` by keys `[N, M]`, their positions not yet known."""
        by_index = indices.argsort()
        order = keys[by_index].argsort(dim=0, descending=True, stable=True)[: self.k]
        image = by_index[order].T
        key = keys.T.gather(1, image)
        entries = torch.stack([key, indices[image], _unlocated(image), torch.zeros_like(image)], -1)
        empty = torch.tensor([EMPTY_KEY, EMPTY_INDEX, 0, 0], device=keys.device)
        return entries.where((key != EMPTY_KEY)[..., None], empty)


def _state_names(layer: str) -> tuple[str, str]:
    # A state is an attribute, a layer's name may hold dots.
    name = re.sub(r"\W", lambda sign: f"_{ord(sign[0]):x}_", layer)
    return f"winners_{name}", f"nans_{name}"


def _key_of(values: Tensor) -> Tensor:
    """int64 that sort like float32 `values`; equal values, also 0 and -0, have equal keys."""
    bits = (values + 0.0).contiguous().view(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).to(torch.int64)


def _value_of(keys: Tensor) -> Tensor:
    bits = keys.to(torch.int32)
    return torch.where(bits < 0, bits ^ 0x7FFFFFFF, bits).view(torch.float32)


def _first_occurrences(indices: Tensor, valid: Tensor) -> Tensor:
    """Which of the valid samples come first with their dataset index."""
    places = torch.where(valid, indices, -1 - torch.arange(len(indices), device=indices.device))
    ordered, order = places.sort(stable=True)
    first = torch.ones_like(valid)
    first[order[1:]] = ordered[1:] != ordered[:-1]
    return first & valid


def _chunks(maps: Tensor, number: int) -> Iterator[slice]:
    """Slices of `number` feature maps that together take bounded memory."""
    step = max(1, 2**22 // max(1, maps.shape[2] * maps.shape[3]))
    yield from (slice(start, start + step) for start in range(0, number, step))


def _keys_without_nan(maps: Tensor, images: Tensor, feature_maps: Tensor) -> Tensor:
    """Keys `[M]` of the strongest values that are not NaN, or EMPTY_KEY if there is none."""
    keys = torch.full_like(images, EMPTY_KEY)
    for some in _chunks(maps, len(images)):
        values = _rows(maps, images[some], feature_maps[some]).float()
        strongest = values.where(~values.isnan(), -torch.inf).amax(1)
        keys[some] = _key_of(strongest).where(~values.isnan().all(1), EMPTY_KEY)
    return keys


def _unlocated(images: Tensor) -> Tensor:
    """What stands for the row of an entry whose position in the batch's image is not yet known."""
    return -1 - images


def _located(entries: Tensor, maps: Tensor, feature_maps: Tensor, *, with_nan: bool) -> Tensor:
    """Entries `[M, k, 4]` with the first position, in reading order, that holds their value.

    Args:
        maps: `[N, C, H, W]`, the batch.
        feature_maps: `[M]`, the feature map of each row of entries.
        with_nan: whether there are NaN in the batch.
    """
    row, rank = (entries[..., ROW] < 0).nonzero(as_tuple=True)
    images, feature_map = -1 - entries[row, rank, ROW], feature_maps[row]
    values = _value_of(entries[row, rank, KEY])
    positions = [torch.zeros_like(images[:0])]
    for some in _chunks(maps, len(images)):
        held = _rows(maps, images[some], feature_map[some]).float()
        if with_nan:
            # A NaN would be a maximum.
            held = (held == values[some, None]).to(torch.uint8)
        # torch.argmax promises the first of equal maxima.
        positions.append(held.argmax(1))
    position = torch.cat(positions)
    entries = entries.clone()
    entries[row, rank, ROW] = position // maps.shape[3]
    entries[row, rank, COLUMN] = position % maps.shape[3]
    return entries


def _rows(maps: Tensor, images: Tensor, feature_maps: Tensor) -> Tensor:
    """Some feature maps of some images, flattened: `[M, H * W]`."""
    if maps.is_contiguous():
        return maps.flatten(0, 1).flatten(1).index_select(0, images * maps.shape[1] + feature_maps)
    return maps[images, feature_maps].flatten(1)


def _share_an_image(first: Tensor, second: Tensor) -> bool:
    """Whether a dataset index stands in both tables of a feature map."""
    same = first[:, :, None, INDEX] == second[:, None, :, INDEX]
    return bool((same & (first[:, :, None, KEY] != EMPTY_KEY)).any())


def _sorted(entries: Tensor, columns: tuple[int, ...]) -> Tensor:
    """Entries `[M, L, 4]` by key descending, then by `columns` ascending."""
    for column in reversed(columns):
        order = entries[..., column].argsort(dim=1, stable=True)
        entries = entries.gather(1, order[..., None].expand_as(entries))
    order = entries[..., KEY].argsort(dim=1, descending=True, stable=True)
    return entries.gather(1, order[..., None].expand_as(entries))


def _best_of_different(first: Tensor, second: Tensor) -> Tensor:
    """The best entries `[M, k, 4]` of two tables that share no image."""
    k = first.shape[1]
    return _sorted(torch.cat([first, second], 1), (INDEX,))[:, :k]


def _best(first: Tensor, second: Tensor) -> Tensor:
    """The best entries `[M, k, 4]` of two tables, each dataset index once."""
    entries = _sorted(torch.cat([first, second], 1), (INDEX, ROW, COLUMN))
    index = entries[..., INDEX]
    same = (index[:, :, None] == index[:, None, :]).tril(-1)
    repeated = same.any(2) & (entries[..., KEY] != EMPTY_KEY)
    empty = torch.tensor([EMPTY_KEY, EMPTY_INDEX, 0, 0], device=entries.device)
    entries = empty.where(repeated[..., None], entries)
    # Stable: what is not repeated keeps its order and goes first.
    order = repeated.to(torch.uint8).argsort(dim=1, stable=True)[:, : first.shape[1]]
    return entries.gather(1, order[..., None].expand(-1, -1, 4))


def _merged(winners: Tensor) -> Tensor:
    """One table `[C, k, 4]` of those `[P, C, k, 4]` of several processes."""
    merged = winners[0]
    for other in winners[1:]:
        merged = _best(merged, other)
    return merged
