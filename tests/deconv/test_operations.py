"""Each operation on its own: adjoint to its forward pass where linear, exact where it is not."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.oracles import randomise
from zf_lightning.deconv import Method
from zf_lightning.deconv.backward import disjoint_windows, keep_switches, unpool_apart
from zf_lightning.deconv.operations import NoRule, Operations
from zf_lightning.deconv.running import run_module
from zf_lightning.errors import UserError


def batch_norm(kind: type[Any], **options: Any) -> nn.Module:
    """A batch normalisation of 3 maps with statistics and weights that matter."""
    module = kind(3, **options)
    randomise(module.state_dict().items())
    return module


LINEAR: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "convolution": (nn.Conv2d(4, 6, 3), (4, 9, 8)),
    "stride and rest": (nn.Conv2d(4, 6, 3, stride=3), (4, 10, 11)),
    "padding": (nn.Conv2d(4, 6, (5, 3), padding=(2, 1)), (4, 9, 8)),
    "dilation": (nn.Conv2d(4, 6, 3, dilation=(2, 1), padding=1), (4, 9, 8)),
    "stride beyond kernel": (nn.Conv2d(4, 6, 2, stride=4), (4, 11, 8)),
    "groups": (nn.Conv2d(4, 6, 3, stride=2, groups=2), (4, 9, 8)),
    "depthwise": (nn.Conv2d(4, 8, 3, padding=1, groups=4), (4, 9, 8)),
    "padding same": (nn.Conv2d(4, 6, 3, padding="same", dilation=2), (4, 9, 8)),
    "padding valid": (nn.Conv2d(4, 6, 3, padding="valid"), (4, 9, 8)),
    "linear": (nn.Linear(12, 5), (12,)),
    "flatten": (nn.Flatten(), (3, 4, 5)),
    "flatten positions": (nn.Flatten(2), (3, 4, 5)),
    "zero padding": (nn.ZeroPad2d((0, 1, 2, 3)), (3, 4, 5)),
    "cropping": (nn.ZeroPad2d((-1, 0, 1, -2)), (3, 4, 5)),
    "identity": (nn.Identity(), (3, 4, 5)),
    "dropout": (nn.Dropout(0.9), (3, 4, 5)),
    "batch norm": (batch_norm(nn.BatchNorm2d), (3, 4, 5)),
    "batch norm without weights": (batch_norm(nn.BatchNorm2d, affine=False), (3, 4, 5)),
    "batch norm of vectors": (batch_norm(nn.BatchNorm1d, eps=0.1), (3,)),
    "average": (nn.AvgPool2d(2), (3, 6, 9)),
    "overlapping average": (nn.AvgPool2d(3, 2), (3, 8, 7)),
    "uneven average": (nn.AvgPool2d((3, 2), (1, 3), (1, 0)), (3, 8, 7)),
    "overhanging average": (nn.AvgPool2d(3, 2, ceil_mode=True), (3, 8, 7)),
    "overhanging padded average": (nn.AvgPool2d(3, 3, 1, ceil_mode=True), (3, 8, 9)),
    "average within borders": (
        nn.AvgPool2d(3, 2, 1, ceil_mode=True, count_include_pad=False),
        (3, 8, 7),
    ),
    "average by another divisor": (nn.AvgPool2d(3, 2, 1, divisor_override=5), (3, 8, 7)),
    "adaptive average": (nn.AdaptiveAvgPool2d((2, 3)), (3, 8, 9)),
    "uneven adaptive average": (nn.AdaptiveAvgPool2d((3, 5)), (3, 8, 7)),
    "adaptive average of more": (nn.AdaptiveAvgPool2d((7, 16)), (3, 3, 8)),
    "adaptive average of one": (nn.AdaptiveAvgPool2d(6), (3, 1, 1)),
    "global average": (nn.AdaptiveAvgPool2d(1), (3, 8, 7)),
    "adaptive average of rows": (nn.AdaptiveAvgPool2d((None, 2)), (3, 5, 6)),
}


Down = Callable[..., Tensor]


def run(
    operation: Any, *values: Any, method: Method | None = None, **options: Any
) -> tuple[Tensor, Down]:
    """The output of a module, function or method, and what takes a signal `[U, ...]` down.

    Its `images` `[U]` say which image each row belongs to. Tensors among `values` are the input.
    """
    values = tuple(v.clone().requires_grad_() if isinstance(v, Tensor) else v for v in values)
    operations = Operations(method or Method())
    if isinstance(operation, nn.Module):
        output, _ = run_module(operations, operation, values, options, None)
    else:
        output, _ = operations.run_function(operation, values, options, None)
    tensors = [value for value in values if isinstance(value, Tensor)]

    def down(signal: Tensor, images: Tensor | None = None) -> Tensor:
        rows = []
        for unit, image in enumerate(range(len(signal)) if images is None else images.tolist()):
            seed = torch.zeros_like(output)
            seed[image] = signal[unit]
            (found,) = torch.autograd.grad(output, tensors[0], seed, retain_graph=True)
            rows.append(found[image])
        return torch.stack(rows)

    return output.detach(), down


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_rules_are_adjoint(name: str) -> None:
    module, shape = LINEAR[name]
    module = module.double().eval()
    values = noise(3, *shape)
    output, down_through = run(module, values)
    torch.testing.assert_close(output, module(values).detach())
    # The bias is no part of the linear map.
    linear = output - run(module, torch.zeros_like(values))[0]
    signal = noise(*output.shape, seed=1)
    down = down_through(signal)
    assert down.shape == values.shape
    torch.testing.assert_close((linear * signal).sum(), (values * down).sum())


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...], dict[str, Any]]] = {
    "average": (F.avg_pool2d, (3, 2), {"padding": 1}),
    "adaptive average": (F.adaptive_avg_pool2d, ((1, 1),), {}),
    "mean": (torch.mean, ((2, 3),), {}),
    "mean by method": ("mean", ([-1, -2],), {"keepdim": True}),
    "twofold": (operator.mul, (2,), {}),
    "half": (operator.truediv, (2.0,), {}),
    "half by method": ("div", (2,), {}),
    "one map": (operator.getitem, ((slice(None), 1),), {}),
    "some rows": (operator.getitem, ((slice(None), slice(1), slice(1, None, 2)),), {}),
    "unsqueeze": (torch.unsqueeze, (1,), {}),
    "squeeze": ("squeeze", (3,), {}),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_linear_functions_are_adjoint(name: str) -> None:
    key, arguments, options = FUNCTIONS[name]
    values = noise(2, 3, 8, 1 if name == "squeeze" else 6)
    output, down_through = run(key, values, *arguments, **options)
    function = getattr(torch.Tensor, key) if isinstance(key, str) else key
    torch.testing.assert_close(output, function(values, *arguments, **options))
    signal = noise(*output.shape, seed=1)
    down = down_through(signal)
    assert down.shape == values.shape
    torch.testing.assert_close((output * signal).sum(), (values * down).sum())


def test_functional_batch_norm() -> None:
    module, values = batch_norm(nn.BatchNorm2d).double().eval(), noise(2, 3, 4, 4)
    module.requires_grad_(False)
    weights = {"weight": module.weight, "bias": module.bias}
    statistics = {"running_mean": module.running_mean, "running_var": module.running_var}
    output, down = run(F.batch_norm, values, **statistics, **weights, eps=module.eps)
    torch.testing.assert_close(output, module(values))
    assert module.weight.min() < 0, "a negative weight turns the sign"
    assert torch.equal(down(torch.ones_like(values))[0, :, 0, 0].sign(), module.weight.sign())


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        (operator.mul, (torch.ones(2, 3, 4, 4),)),
        (operator.truediv, (torch.ones(2, 3, 4, 4),)),
        (F.dropout, ()),
        (F.max_pool2d, (2, 2, 0, 1, False, True)),
        (torch.sin, ()),
        (torch.mean, ((0, 1),)),
        (torch.mean, ()),
        (F.hardtanh, ()),
        (F.batch_norm, (None, None)),
        (F.batch_norm, (torch.zeros(3), torch.ones(3), None, None, True)),
    ],
)
def test_what_is_refused(key: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(NoRule):
        run(key, torch.ones(2, 3, 4, 4), *arguments)


POOLS: dict[str, nn.MaxPool2d] = {
    "overlapping": nn.MaxPool2d(3, 2),
    "overhanging": nn.MaxPool2d(3, 2, ceil_mode=True),
    "padded": nn.MaxPool2d(3, 2, padding=1),
    "dilated": nn.MaxPool2d(2, 1, dilation=2),
    "apart": nn.MaxPool2d(2),
    "uneven": nn.MaxPool2d((3, 2), (1, 3), padding=(1, 0)),
}


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("name", POOLS)
def test_unpooling_adds_at_the_switches(name: str, ties: bool) -> None:
    pool, values = POOLS[name], noise(2, 3, 8, 8)
    if ties:
        values = values.round()
    output, down_through = run(pool, values)
    torch.testing.assert_close(output, pool(values))
    signal = noise(5, *output.shape[1:], seed=1)
    images = torch.tensor([1, 0, 1, 1, 0])
    down = down_through(signal, images)

    def two(number: Any) -> tuple[int, int]:
        return (number, number) if isinstance(number, int) else number

    # By hand: each value to the first position of its window that holds the maximum.
    kernel, stride, padding, dilation = (
        two(number) for number in (pool.kernel_size, pool.stride, pool.padding, pool.dilation)
    )
    expected = torch.zeros(5, 3, 8, 8, dtype=torch.float64)
    for unit, image in enumerate(images.tolist()):
        for channel in range(3):
            for row in range(output.shape[2]):
                for column in range(output.shape[3]):
                    window = [
                        (y, x)
                        for i in range(kernel[0])
                        for j in range(kernel[1])
                        if 0 <= (y := row * stride[0] - padding[0] + i * dilation[0]) < 8
                        and 0 <= (x := column * stride[1] - padding[1] + j * dilation[1]) < 8
                    ]
                    y, x = max(window, key=lambda at: float(values[image, channel, at[0], at[1]]))
                    expected[unit, channel, y, x] += signal[unit, channel, row, column]
    torch.testing.assert_close(down, expected)


def test_windows_that_share_a_switch() -> None:
    values = torch.zeros(1, 1, 5, 5)
    values[0, 0, 2, 2] = 1
    _, down_through = run(nn.MaxPool2d(3, 2), values)
    down = down_through(torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]]))
    assert down[0, 0, 2, 2] == 15 and down.sum() == 15


@pytest.mark.parametrize("size", [(2, 4), (3, 5), (1, 1), (8, 8), (None, 4), (11, 20)])
def test_adaptive_unpooling(size: Any) -> None:
    module, values = nn.AdaptiveMaxPool2d(size), noise(2, 3, 8, 8)
    output, down = run(module, values)
    signal, pixels = noise(*output.shape, seed=1), values.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(pixels), pixels, signal)
    torch.testing.assert_close(down(signal), expected)


def test_windows_that_overlap_are_scattered_apart_on_a_gpu() -> None:
    values = noise(2, 3, 8, 8)
    for kernel, stride in (((3, 3), (2, 2)), ((3, 2), (1, 3)), ((4, 4), (4, 4))):
        _, switches = F.max_pool2d(values, kernel, stride, return_indices=True)
        covered = torch.zeros(switches.shape[2:], dtype=torch.int64)
        for rows, columns in disjoint_windows(kernel, stride):
            covered[rows, columns] += 1
            for some in switches[:, :, rows, columns].flatten(2).flatten(0, 1):
                assert len(some.unique()) == len(some)
        assert torch.equal(covered, torch.ones_like(covered))


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_windows_scattered_apart_give_the_same(layout: torch.memory_format) -> None:
    values = noise(2, 3, 9, 9).contiguous(memory_format=layout).requires_grad_()
    output, switches = F.max_pool2d(values, 3, 2, return_indices=True)
    signal = noise(*output.shape, seed=1).contiguous(memory_format=layout)
    kept = keep_switches(values, output.detach(), switches, (3, 3), (2, 2))
    (at_once,) = torch.autograd.grad(kept, values, signal)
    assert at_once.is_contiguous(memory_format=layout)
    (expected,) = torch.autograd.grad(output, values, signal)
    assert torch.equal(at_once, expected)
    apart = disjoint_windows((3, 3), (2, 2))
    assert len(apart) == 4
    found = unpool_apart(signal, switches, values.shape, apart)
    torch.testing.assert_close(found, at_once)


@pytest.mark.parametrize("name", ["deconvnet", "guided", "gradient"])
def test_relu(name: Any) -> None:
    values = torch.tensor([[-1.0, -1.0, 0.0, 2.0, 2.0]])
    signal = torch.tensor([[3.0, -3.0, 3.0, 3.0, -3.0]])
    output, down = run(nn.ReLU(inplace=True), values, method=Method(name))
    assert output.tolist() == [[0, 0, 0, 2, 2]]
    expected = {
        "deconvnet": [3, 0, 3, 3, 0],
        "guided": [0, 0, 0, 3, 0],
        "gradient": [0, 0, 0, 3, -3],
    }
    assert down(signal)[0].tolist() == expected[name]


@pytest.mark.parametrize("name", ["deconvnet", "guided", "gradient"])
def test_relatives_of_relu(name: Any) -> None:
    values = torch.tensor([[-1.0, -1.0, 2.0, 2.0, 6.0, 7.0]])
    signal = torch.tensor([[8.0, -8.0, 8.0, -8.0, 8.0, 8.0]])
    leaky, cut = {
        # Through the non-linearity itself, but 6 is no scale of the signal.
        "deconvnet": ([8, -2, 8, -2, 8, 8], [8, 0, 8, 0, 8, 8]),
        # Times the derivative.
        "gradient": ([2, -2, 8, -8, 8, 8], [0, 0, 8, -8, 0, 0]),
        # Both.
        "guided": ([2, -0.5, 8, -2, 8, 8], [0, 0, 8, 0, 0, 0]),
    }[name]
    for operation, arguments, expected in (
        (nn.LeakyReLU(0.25), (), leaky),
        (F.leaky_relu, (0.25,), leaky),
        ("relu_", (), [8 if v > 0 else 0 for v in cut] if name == "deconvnet" else None),
        (nn.ReLU6(inplace=True), (), cut),
        (F.relu6, (), cut),
        (F.hardtanh, (0.0, 6.0), cut),
    ):
        output, down = run(operation, values, *arguments, method=Method(name))
        native = getattr(Tensor, operation) if isinstance(operation, str) else operation
        assert torch.equal(output, native(values.clone(), *arguments))
        if expected is not None:
            assert down(signal)[0].tolist() == expected


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_contrast_normalisation(size: int) -> None:
    module, values = nn.LocalResponseNorm(size, alpha=0.7, beta=0.6, k=1.5), noise(2, 7, 3, 4)
    signal, images = noise(3, 7, 3, 4, seed=1), torch.tensor([1, 0, 1])
    output, down = run(module, values)
    torch.testing.assert_close(output, module(values))
    assert torch.equal(down(signal, images), signal)
    _, derivative = run(module, values, method=Method(norm="jacobian"))
    found = derivative(signal, images)
    for unit, image in enumerate(images.tolist()):
        pixels = values[image : image + 1].clone().requires_grad_()
        (expected,) = torch.autograd.grad(module(pixels), pixels, signal[unit : unit + 1])
        torch.testing.assert_close(found[unit : unit + 1], expected)


def test_functions_that_a_module_stands_for_go_down_alike() -> None:
    values, weight = noise(2, 4, 9, 9), noise(6, 2, 3, 3)
    options = {"stride": 2, "padding": 1, "dilation": 2, "groups": 2}
    output, down = run(F.conv2d, values, weight=weight, bias=None, **options)
    torch.testing.assert_close(output, F.conv2d(values, weight, None, **options))
    signal = noise(*output.shape, seed=1)
    torch.testing.assert_close((output * signal).sum(), (values * down(signal)).sum())


class Hidden(torch.autograd.Function):
    """An operation that no function mode sees."""

    @staticmethod
    def forward(context: Any, values: Tensor) -> Tensor:
        return values.clone()

    @staticmethod
    def backward(context: Any, signal: Tensor) -> Tensor:
        return signal


def test_code_inside_a_module_that_cannot_be_followed_is_refused() -> None:
    class Opaque(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return Hidden.apply(values)  # type: ignore[no-any-return]

    class ByProperty(nn.Module):
        def forward(self, values: Tensor) -> Tensor:
            return values.data * 2

    for module in (Opaque(), ByProperty()):
        with pytest.raises(UserError, match=r"network's own|property"):
            run(module, noise(2, 3, 4, 4))
