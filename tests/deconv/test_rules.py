"""Each rule on its own: adjoint to its forward pass where that is linear, exact where it is not."""

import operator
from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.deconv.oracles import randomise
from zf_lightning.deconv.reversal import Mode
from zf_lightning.deconv.rules import RULES, rule_key
from zf_lightning.errors import UserError

MODE = Mode()


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


def run(module: nn.Module, values: Tensor, mode: Mode = MODE) -> tuple[Tensor, Any]:
    key = rule_key(RULES, module)
    assert key is not None
    with torch.no_grad():
        return RULES[key](mode, module, values)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


@pytest.mark.parametrize("name", LINEAR)
def test_linear_rules_are_adjoint(name: str) -> None:
    module, shape = LINEAR[name]
    module = module.double().eval()
    values = noise(3, *shape)
    output, reversal = run(module, values)
    torch.testing.assert_close(output, module(values))
    # The bias is no part of the linear map.
    linear = output - run(module, torch.zeros_like(values))[0]
    signal = noise(*output.shape, seed=1)
    (down,) = reversal.reverse(signal, torch.arange(3))
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
    output, reversal = RULES[key](MODE, values, *arguments, **options)
    function = getattr(torch.Tensor, key) if isinstance(key, str) else key
    torch.testing.assert_close(output, function(values, *arguments, **options))
    signal = noise(*output.shape, seed=1)
    (down,) = reversal.reverse(signal, torch.arange(2))
    assert down.shape == values.shape
    torch.testing.assert_close((output * signal).sum(), (values * down).sum())


def test_functional_batch_norm() -> None:
    module, values = batch_norm(nn.BatchNorm2d).double().eval(), noise(2, 3, 4, 4)
    weights = (module.running_mean, module.running_var, module.weight, module.bias)
    with torch.no_grad():
        output, reversal = RULES[F.batch_norm](MODE, values, *weights, False, 0.1, module.eps)
        torch.testing.assert_close(output, module(values))
    assert module.weight.min() < 0, "a negative weight turns the sign"
    (down,) = reversal.reverse(torch.ones_like(values), torch.arange(2))
    assert torch.equal(down[0, :, 0, 0].sign(), module.weight.sign())


@pytest.mark.parametrize(
    ("key", "arguments"),
    [
        (operator.mul, (torch.ones(2, 3, 4, 4),)),
        (operator.truediv, (torch.ones(2, 3, 4, 4),)),
        (torch.mean, (1,)),
        (operator.getitem, (0,)),
        (operator.getitem, ((slice(None), [0, 1]),)),
        (operator.getitem, ((slice(1), 0),)),
        (torch.unsqueeze, (0,)),
        (F.hardtanh, ()),
        (F.adaptive_max_pool2d, (5,)),
        (F.batch_norm, (None, None)),
        (F.batch_norm, (torch.zeros(3), torch.ones(3), None, None, True)),
    ],
)
def test_what_has_no_rule(key: Any, arguments: tuple[Any, ...]) -> None:
    with pytest.raises(UserError, match="no rule"):
        RULES[key](MODE, torch.ones(2, 3, 4, 4), *arguments)


@pytest.mark.parametrize(
    ("function", "numbers"),
    [
        (torch.add, lambda a, b: (a, b)),
        (torch.cat, lambda a, b: ([a, b], 1)),
    ],
)
def test_joining_rules_are_adjoint(
    function: Callable[..., Tensor], numbers: Callable[..., tuple[Any, ...]]
) -> None:
    left, right = noise(2, 3, 4, 4), noise(2, 3, 4, 4, seed=1)
    output, reversal = RULES[function](MODE, *numbers(left, right))
    torch.testing.assert_close(output, function(*numbers(left, right)))
    signal = noise(*output.shape, seed=2)
    parts = reversal.reverse(signal, torch.arange(2))
    expected = (left * parts[0]).sum() + (right * parts[1]).sum()
    torch.testing.assert_close((output * signal).sum(), expected)


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
    output, reversal = run(pool, values)
    torch.testing.assert_close(output, pool(values))
    signal = noise(5, *output.shape[1:], seed=1)
    images = torch.tensor([1, 0, 1, 1, 0])
    (down,) = reversal.reverse(signal, images)

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
    _, reversal = run(nn.MaxPool2d(3, 2), values)
    (down,) = reversal.reverse(torch.tensor([[[[1.0, 2.0], [4.0, 8.0]]]]), torch.tensor([0]))
    assert down[0, 0, 2, 2] == 15 and down.sum() == 15


def test_windows_that_overlap_are_scattered_apart_on_a_gpu() -> None:
    _, reversal = run(nn.MaxPool2d(3, 2, ceil_mode=True), noise(2, 3, 8, 8))
    covered = torch.zeros(reversal.switches.shape[2:], dtype=torch.int64)
    for rows, columns in reversal._disjoint_windows(torch.device("cuda")):
        covered[rows, columns] += 1
        for switches in reversal.switches[:, :, rows, columns].flatten(2).flatten(0, 1):
            assert len(switches.unique()) == len(switches)
    assert torch.equal(covered, torch.ones_like(covered))


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_relu(rule: str) -> None:
    values = torch.tensor([[-1.0, -1.0, 0.0, 2.0, 2.0]])
    signal = torch.tensor([[3.0, -3.0, 3.0, 3.0, -3.0]])
    output, reversal = run(nn.ReLU(inplace=True), values, Mode(rule=rule))  # type: ignore[arg-type]
    assert output.tolist() == [[0, 0, 0, 2, 2]]
    assert values.tolist() == [[-1, -1, 0, 2, 2]], "the input is kept"
    (down,) = reversal.reverse(signal, torch.tensor([0]))
    expected = {
        "deconvnet": [3, 0, 3, 3, 0],
        "guided": [0, 0, 0, 3, 0],
        "gradient": [0, 0, 0, 3, -3],
    }
    assert down[0].tolist() == expected[rule]


@pytest.mark.parametrize("rule", ["deconvnet", "guided", "gradient"])
def test_relatives_of_relu(rule: str) -> None:
    values = torch.tensor([[-1.0, -1.0, 2.0, 2.0, 6.0, 7.0]])
    signal = torch.tensor([[8.0, -8.0, 8.0, -8.0, 8.0, 8.0]])
    expected = {
        # Through the non-linearity itself, but 6 is no scale of the signal.
        "deconvnet": ([8, -2, 8, -2, 8, 8], [8, 0, 8, 0, 8, 8]),
        # Times the derivative.
        "gradient": ([2, -2, 8, -8, 8, 8], [0, 0, 8, -8, 0, 0]),
        # Both.
        "guided": ([2, -0.5, 8, -2, 8, 8], [0, 0, 8, 0, 0, 0]),
    }[rule]
    for module, down in zip((nn.LeakyReLU(0.25), nn.ReLU6(inplace=True)), expected, strict=True):
        output, reversal = run(module, values, Mode(rule=rule))  # type: ignore[arg-type]
        assert torch.equal(output, module(values.clone()))
        assert reversal.reverse(signal, torch.tensor([0]))[0][0].tolist() == down
    for key, arguments in ((F.leaky_relu, (0.25,)), (F.relu6, ()), (F.hardtanh, (0.0, 6.0))):
        down = expected[0 if key is F.leaky_relu else 1]
        output, reversal = RULES[key](Mode(rule=rule), values, *arguments)  # type: ignore[arg-type]
        assert torch.equal(output, key(values, *arguments))
        assert reversal.reverse(signal, torch.tensor([0]))[0][0].tolist() == down


@pytest.mark.parametrize("size", [(2, 4), (3, 5), (1, 1), (8, 8)])
def test_adaptive_unpooling(size: tuple[int, int]) -> None:
    module, values = nn.AdaptiveMaxPool2d(size), noise(2, 3, 8, 8)
    output, reversal = run(module, values)
    signal, pixels = noise(*output.shape, seed=1), values.clone().requires_grad_()
    (expected,) = torch.autograd.grad(module(pixels), pixels, signal)
    torch.testing.assert_close(reversal.reverse(signal, torch.arange(2))[0], expected)
    for rows, columns in reversal._disjoint_windows(torch.device("cuda")):
        for switches in reversal.switches[:, :, rows, columns].flatten(2).flatten(0, 1):
            assert len(switches.unique()) == len(switches)


@pytest.mark.parametrize("size", [1, 2, 4, 5, 9])
def test_contrast_normalisation(size: int) -> None:
    module, values = nn.LocalResponseNorm(size, alpha=0.7, beta=0.6, k=1.5), noise(2, 7, 3, 4)
    signal, images = noise(3, 7, 3, 4, seed=1), torch.tensor([1, 0, 1])
    output, reversal = run(module, values)
    torch.testing.assert_close(output, module(values))
    assert reversal.reverse(signal, images)[0] is signal
    _, derivative = run(module, values, Mode(norm="jacobian"))
    for unit, image in enumerate(images.tolist()):
        pixels = values[image : image + 1].clone().requires_grad_()
        (expected,) = torch.autograd.grad(module(pixels), pixels, signal[unit : unit + 1])
        found = derivative.reverse(signal[unit : unit + 1], images[unit : unit + 1])[0]
        torch.testing.assert_close(found, expected)


def test_functions_that_a_module_stands_for_have_the_same_rule() -> None:
    values, weight = noise(2, 4, 9, 9), noise(6, 2, 3, 3)
    output, reversal = RULES[F.conv2d](
        MODE, values, weight, None, stride=2, padding=1, dilation=2, groups=2
    )
    torch.testing.assert_close(
        output, F.conv2d(values, weight, None, stride=2, padding=1, dilation=2, groups=2)
    )
    signal = noise(*output.shape, seed=1)
    (down,) = reversal.reverse(signal, torch.arange(2))
    torch.testing.assert_close((output * signal).sum(), (values * down).sum())
