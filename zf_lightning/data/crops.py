"""Crops and mirror images of whole batches, on the batch's device (Sec. 3)."""

import torch
from torch import Tensor

#: Number of crops that are averaged in testing: four corners and centre, and their mirror images.
TEN = 10
#: Position of the centre crop among the ten.
CENTRE_CROP = 4


def corner_offsets(size: int, crop: int) -> list[tuple[int, int]]:
    """Top and left of the five crops of a `size`×`size` image, in torchvision's order.

    Top left, top right, bottom left, bottom right, centre.
    """
    last = size - crop
    # torchvision rounds the centre half to even.
    centre = round(last / 2.0)
    return [(0, 0), (0, last), (last, 0), (last, last), (centre, centre)]


def ten_crop(images: Tensor, crop: int, number: int) -> Tensor:
    """The crop `number` (0 to 9) of `torchvision.transforms.TenCrop` of `[N, C, H, H]`.

    Returns `[N, C, crop, crop]`; numbers 5 to 9 are those of the mirrored image.
    """
    if number >= TEN // 2:
        images = images.flip(-1)
    top, left = corner_offsets(images.shape[-1], crop)[number % (TEN // 2)]
    return images[..., top : top + crop, left : left + crop]


def centre_crop(images: Tensor, crop: int) -> Tensor:
    """The centre `[N, C, crop, crop]` of `[N, C, H, H]`."""
    return ten_crop(images, crop, CENTRE_CROP)


def crop_and_mirror(images: Tensor, crop: int, placement: Tensor) -> Tensor:
    """A crop of its own for every image: `[N, C, crop, crop]` of `[N, C, H, H]`.

    `placement` is int64 `[N, 3]`: top, left, and 1 where the crop is mirrored.
    """
    count, channels, _, width = images.shape
    steps = torch.arange(crop, device=images.device)
    top, left, mirrored = placement.unbind(1)
    rows = top[:, None] + steps
    columns = left[:, None] + torch.where(mirrored[:, None] == 1, crop - 1 - steps, steps)
    # One gather of whole rows, one of columns: far cheaper than indexing pixel by pixel.
    band = images.gather(2, rows[:, None, :, None].expand(count, channels, crop, width))
    return band.gather(3, columns[:, None, None, :].expand(count, channels, crop, crop))


def random_placement(indices: Tensor, *, margin: int, seed: int, epoch: int) -> Tensor:
    """Top, left and mirroring (0 or 1) of each sample's crop in an epoch: int64 `[N, 3]`.

    A function of (seed, epoch, dataset index) alone: the same on any number of processes, for any
    batch size, and in a resumed run. Tops and lefts are uniform in 0..`margin`, as in
    cuda-convnet's decoder, and half of the crops are mirrored; the paper says only that it uses
    multiple different crops and flips.
    """
    bits = _mix(indices.to(torch.int64) * 3 + _mix_number(seed, epoch))
    top = _uniform(bits, margin + 1)
    left = _uniform(_mix(bits + 1), margin + 1)
    mirrored = _uniform(_mix(bits + 2), 2)
    return torch.stack((top, left, mirrored), dim=1)


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _shift(values: Tensor, by: int) -> Tensor:
    # A logical shift: int64 shifts keep the sign.
    return (values >> by) & ((1 << (64 - by)) - 1)


def _mix(values: Tensor) -> Tensor:
    """The finaliser of SplitMix64: every bit of the result depends on every bit of `values`."""
    values = values * _signed(0x9E3779B97F4A7C15)
    values = (values ^ _shift(values, 30)) * _signed(0xBF58476D1CE4E5B9)
    values = (values ^ _shift(values, 27)) * _signed(0x94D049BB133111EB)
    return values ^ _shift(values, 31)


def _mix_number(seed: int, epoch: int) -> int:
    both = torch.tensor([seed, epoch], dtype=torch.int64)
    return int(_mix(_mix(both[:1]) + both[1:])[0])


def _uniform(bits: Tensor, below: int) -> Tensor:
    return _shift(bits, 33) % below
