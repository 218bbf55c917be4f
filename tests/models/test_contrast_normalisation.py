"""Contrast normalisation against PyTorch's own."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.models import contrast_normalisation
from zf_lightning.models.contrast_normalisation import LocalResponseNorm

CONSTANTS = [(5, 1e-4, 0.75, 2.0), (4, 0.7, 0.75, 1.5), (1, 0.7, 0.6, 1.0), (9, 0.5, 1.0, 0.1)]


def maps(*shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    generator = torch.Generator().manual_seed(0)
    return (50 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)


@pytest.mark.parametrize("constants", CONSTANTS)
@pytest.mark.parametrize("shape", [(5, 7, 6, 4), (2, 96, 13, 13), (3, 2, 1, 1), (0, 4, 3, 3)])
@pytest.mark.parametrize("memory", [torch.contiguous_format, torch.channels_last])
def test_equals_pytorch(
    monkeypatch: pytest.MonkeyPatch,
    constants: tuple[int, float, float, float],
    shape: tuple[int, ...],
    memory: torch.memory_format,
) -> None:
    # Several blocks of several images, and one that is not full.
    monkeypatch.setattr(contrast_normalisation, "BLOCK", 2 * 7 * 6 * 4)
    size, alpha, beta, k = constants
    for dtype, tolerance in ((torch.float64, 1e-12), (torch.float32, 1e-6)):
        values = maps(*shape, dtype=dtype).contiguous(memory_format=memory).requires_grad_()
        signal = maps(*shape, dtype=dtype).flip(0)
        found = LocalResponseNorm(size, alpha, beta, k)(values)
        expected = F.local_response_norm(values, size, alpha, beta, k)
        assert found.shape == expected.shape and found.dtype == dtype
        assert found.is_contiguous(memory_format=memory)
        scale = float(expected.detach().abs().max()) if expected.numel() else 1
        torch.testing.assert_close(found, expected, rtol=0, atol=tolerance * scale)
        gradients = [torch.autograd.grad(one, values, signal)[0] for one in (found, expected)]
        scale = float(gradients[1].abs().max()) if expected.numel() else 1
        torch.testing.assert_close(*gradients, rtol=0, atol=tolerance * scale)


def test_sixteen_bits_are_computed_with_thirty_two() -> None:
    values = maps(2, 8, 3, 3, dtype=torch.bfloat16)
    found = LocalResponseNorm(5, 0.1, 0.75, 2.0)(values)
    expected = F.local_response_norm(values.float(), 5, 0.1, 0.75, 2.0)
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.to(torch.bfloat16))


def test_is_used_by_networks_and_prints_like_pytorchs() -> None:
    assert isinstance(LocalResponseNorm(5), nn.LocalResponseNorm)
    assert repr(LocalResponseNorm(5)) == repr(nn.LocalResponseNorm(5))
