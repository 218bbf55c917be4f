"""Precision: units are projected in float32, whatever the training around it computes in."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch


@contextmanager
def full_precision(device: torch.device) -> Iterator[None]:
    """Neither autocast nor float32 with fewer bits, such as TF32, PyTorch's default on a GPU.

    A unit that is computed in its crop alone would else differ from the same unit computed with the
    whole image by 1e-3, and recomputed activations from recorded ones.
    """
    with torch.autocast(device.type, enabled=False), ExitStack() as stack:
        for backend, option, full in _settings():
            stack.callback(setattr, backend, option, getattr(backend, option))
            setattr(backend, option, full)
        yield


def _settings() -> list[tuple[Any, str, Any]]:
    """Where PyTorch keeps the precision of float32 in convolutions and matrix products."""
    b: Any = torch.backends
    if not hasattr(b.cuda.matmul, "fp32_precision"):
        # Before PyTorch 2.9. Once the newer options are used, these may not be read.
        return [(b.cudnn, "allow_tf32", False), (b.cuda.matmul, "allow_tf32", False)]
    backends: list[Any] = [b.cudnn.conv, b.cuda.matmul, b.mkldnn.conv, b.mkldnn.matmul]
    return [(backend, "fp32_precision", "ieee") for backend in backends]
