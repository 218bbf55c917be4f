"""In what arithmetic units are projected: float32, whatever the training around it computes in."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch


@contextmanager
def float32_arithmetic(device: torch.device) -> Iterator[None]:
    """Neither autocast nor, on a GPU, convolutions with the 10 bits of TF32, PyTorch's default.

    A unit that is computed in its window alone would else differ from the same unit computed with
    the whole image by 1e-3, and recomputed activations from recorded ones.
    """
    cudnn = torch.backends.cudnn
    before = cudnn.allow_tf32
    cudnn.allow_tf32 = False
    try:
        with torch.autocast(device.type, enabled=False):
            yield
    finally:
        cudnn.allow_tf32 = before
