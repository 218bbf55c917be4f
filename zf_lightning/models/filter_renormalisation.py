"""The paper's rule that no convolutional filter may dominate (Sec. 3, Fig. 6a)."""

import torch
from torch import nn


@torch.no_grad()
def renormalise_filters(network: nn.Module, rms_limit: float) -> None:
    """Scale every convolutional filter whose RMS exceeds `rms_limit` back to it, in place.

    A filter is the `[C, H, W]` weights of one feature map. Filters within the limit are left
    exactly as they are; fully connected layers are not touched (Sec. 3).
    """
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            rms = module.weight.square().mean(dim=(1, 2, 3), keepdim=True).sqrt()
            # 1 / max(1, x) is exactly 1 within the limit, and a filter of zeros stays zero.
            module.weight.div_((rms / rms_limit).clamp(min=1))


@torch.no_grad()
def filter_rms(network: nn.Module) -> dict[str, torch.Tensor]:
    """RMS of each filter, `[feature maps]`, for every convolution of `network` by name."""
    return {
        name: module.weight.square().mean(dim=(1, 2, 3)).sqrt()
        for name, module in network.named_modules()
        if isinstance(module, nn.Conv2d)
    }
