"""Random small networks: as modules a user could have written, and step by step with autograd.

A network is a list of steps over numbered values, of which 0 is the image. `RandomNetwork` runs the
steps in whichever form was drawn, with modules and functions, in place or not. `by_autograd` runs
them with plain functions and backward rules of its own; gates are held, but for the gradient. The
two share the list and the weights, nothing else. Numbers are whole or halves, so that sums are
exact and ties are ties.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from math import inf
from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn

LARGEST, MAPS = 24, 6
RECTIFIERS = {"relu": (0.0, inf), "relu6": (0.0, 6.0), "hardtanh": (0.0, 3.5), "leaky": (0.25, inf)}
LAYERS = ("conv", "linear")
STATISTICS = ("running_mean", "running_var", "weight", "bias")
#: So that gates are neither open nor shut.
SOFT = 64
IN_PLACE = ("method_", "operator_", "module_")


@dataclass(frozen=True)
class Step:
    """One operation, the values it takes, its options, and how it is written."""

    kind: str
    takes: tuple[int, ...]
    options: Mapping[str, Any] = field(default_factory=dict)
    form: str = "function"
    #: The step whose module is used once more.
    again: int | None = None


@dataclass(frozen=True)
class Program:
    """The steps of a network; step `i` gives value `i + 1`."""

    size: tuple[int, int]
    steps: tuple[Step, ...]
    seed: int
    channels: int = 3

    def drawn(self, number: int, *shape: int, most: int = 2) -> Tensor:
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        return torch.randint(-most, most + 1, shape, generator=generator).double()

    def weights(self, number: int) -> dict[str, Tensor]:
        """Of the step that gives value `number`."""
        step = self.steps[number - 1]
        if step.again is not None:
            return self.weights(step.again)
        shapes = step.options.get("weights", {})
        found = {
            name: self.drawn(10 * number + place, *shape)
            for place, (name, shape) in enumerate(shapes.items())
        }
        if "running_var" in found:
            # One over its root, with eps, is a power of 2.
            found["running_var"] = 4.0 ** found["running_var"].clamp(-1, 1) - 1 / 64
        return found


class RandomNetwork(nn.Module):
    """A program as a user's module."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.program = program
        for number, step in enumerate(program.steps, 1):
            weights = program.weights(number)
            if step.form.startswith("module") and step.again is None:
                module = _module(step, weights)
                if weights:
                    module.load_state_dict(weights, strict=False)
                self.add_module(f"step{number}", module.double())
            elif step.again is None:
                for name, values in weights.items():
                    self.register_buffer(f"{name}{number}", values)
        self.eval()

    def forward(self, images: Tensor) -> Tensor:
        values = [images]
        for number, step in enumerate(self.program.steps, 1):
            taken = [values[place] for place in step.takes]
            owner = number if step.again is None else step.again
            if step.form.startswith("module"):
                values.append(self.get_submodule(f"step{owner}")(*taken))
            else:
                names = step.options.get("weights", ())
                weights = {name: getattr(self, f"{name}{owner}") for name in names}
                values.append(_written(self, step, taken, weights))
        return values[-1]


def _module(step: Step, weights: Mapping[str, Tensor]) -> nn.Module:
    options = {key: value for key, value in step.options.items() if key != "weights"}
    in_place = step.form == "module_"
    match step.kind:
        case "conv":
            weight = weights["weight"]
            inner = weight.shape[1] * options["groups"]
            bias = "bias" in weights
            return nn.Conv2d(inner, len(weight), tuple(weight.shape[2:]), bias=bias, **options)
        case "linear":
            return nn.Linear(*reversed(weights["weight"].shape), bias="bias" in weights)
        case "batch_norm":
            kind = nn.BatchNorm2d if options.pop("positions") else nn.BatchNorm1d
            return kind(len(weights["weight"]), eps=1 / 64)
        case "relu":
            return nn.ReLU(in_place)
        case "relu6":
            return nn.ReLU6(in_place)
        case "hardtanh":
            return nn.Hardtanh(0.0, 3.5, in_place)
        case "leaky":
            return nn.LeakyReLU(0.25, in_place)
        case "max_pool":
            return nn.MaxPool2d(**options)
        case "avg_pool":
            return nn.AvgPool2d(**options)
        case "adaptive_max":
            return nn.AdaptiveMaxPool2d(**options)
        case "adaptive_avg":
            return nn.AdaptiveAvgPool2d(**options)
        case "norm":
            return nn.LocalResponseNorm(**options)
        case "pad":
            return nn.ZeroPad2d(**options)
        case "dropout":
            return nn.Dropout()
        case "flatten":
            return nn.Flatten()
    raise AssertionError(step.kind)


def _written(network: nn.Module, step: Step, taken: list[Tensor], weights: Any) -> Any:
    """A step as functions, methods and operators."""
    options = {key: value for key, value in step.options.items() if key != "weights"}
    first, *others = taken
    match step.kind, step.form:
        case "relu", "method":
            return first.relu()
        case "relu", "method_":
            return first.relu_()
        case "relu", "torch":
            return torch.relu(first)
        case "add", "operator_":
            first += others[0]
            return first
        case "sub", "operator_":
            first -= others[0]
            return first
        case "add", "method":
            return first.add(others[0])
        case "sub", "torch":
            return torch.sub(first, others[0])
        case "gate", "method":
            return first.mul((others[0] / SOFT).sigmoid())
        case "squeezed_gate", "method":
            return F.adaptive_avg_pool2d(others[0] / SOFT, 1).sigmoid() * first
        case "cat", "torch":
            return torch.concat(tuple(taken), dim=1)
        case "flatten", "method":
            return first.view(first.size(0), -1)
        case "flatten", "torch":
            return torch.flatten(first, 1)
        case "dropout", _:
            return F.dropout(first, 0.5, network.training)
        case "norm", _:
            return F.local_response_norm(first, **options)
        case "batch_norm", _:
            return F.batch_norm(first, *(weights[name] for name in STATISTICS), False, 0.0, 1 / 64)
        case "pad", _:
            return F.pad(first, options["padding"])
        case "leaky", _:
            return F.leaky_relu(first, 0.25)
        case "hardtanh", _:
            return F.hardtanh(first, 0.0, 3.5)
    return _plain(step, taken, weights)


def _plain(step: Step, taken: list[Tensor], weights: Any) -> Any:
    """A step by its plain function."""
    options = {key: value for key, value in step.options.items() if key != "weights"}
    first, *others = taken
    match step.kind:
        case "conv":
            return F.conv2d(first, weights["weight"], weights.get("bias"), **options)
        case "linear":
            return F.linear(first, weights["weight"], weights.get("bias"))
        case "relu":
            return F.relu(first)
        case "relu6":
            return F.relu6(first)
        case "max_pool":
            return F.max_pool2d(first, **options)
        case "avg_pool":
            return F.avg_pool2d(first, **options)
        case "adaptive_max":
            return F.adaptive_max_pool2d(first, **options)
        case "adaptive_avg":
            return F.adaptive_avg_pool2d(first, **options)
        case "gate":
            return first * torch.sigmoid(others[0] / SOFT)
        case "squeezed_gate":
            return first * torch.sigmoid((others[0] / SOFT).mean((2, 3), keepdim=True))
        case "add":
            return first + others[0]
        case "sub":
            return first - others[0]
        case "scale":
            return weights["weight"] * first
        case "halve":
            return first / 2
        case "shift":
            return 1.5 - first
        case "negate":
            return -first
        case "cat":
            return torch.cat(taken, 1)
        case "slice":
            return first[:, options["start"] :]
        case "cut":
            return first[:, :, options["start"] :]
        case "mean":
            return first.mean((2, 3))
        case "flatten":
            return first.flatten(1)
    raise AssertionError(step.kind)


class _Rectifier(torch.autograd.Function):
    """Sec. 2.1: the signal goes through the non-linearity itself."""

    @staticmethod
    def forward(context: Any, values: Tensor, slope: float, top: float, method: str) -> Tensor:
        context.save_for_backward(values)
        context.options = slope, top, method
        return F.leaky_relu(values, slope) if slope else values.clamp(0, top)

    @staticmethod
    def backward(context: Any, signal: Tensor) -> tuple[Tensor | None, ...]:
        (values,) = context.saved_tensors
        slope, top, method = context.options
        if method != "gradient":
            signal = torch.where(signal > 0, signal, slope * signal)
        if method != "deconvnet":
            signal = torch.where(values > 0, signal, slope * signal) * (values < top)
        return signal, None, None, None


def _by_autograd(step: Step, taken: list[Tensor], weights: Any, method: str) -> Tensor:
    (first, *_), options = taken, step.options
    match step.kind:
        case "relu" | "relu6" | "hardtanh" | "leaky":
            found: Tensor = _Rectifier.apply(first, *RECTIFIERS[step.kind], method)
            return found
        case "dropout":
            return first
        case "norm":
            # Left out on the way down, as in the ECCV text.
            return first + (F.local_response_norm(first, **options) - first).detach()
        case "batch_norm":
            mean, var, scale, bias = (
                weights[name].view(-1, *([1] * (first.dim() - 2))) for name in STATISTICS
            )
            return (first - mean) / (var + 1 / 64).sqrt() * scale + bias
        case "gate" | "squeezed_gate":
            inner = taken[1] if step.kind == "gate" else taken[1].mean((2, 3), keepdim=True)
            gate = torch.sigmoid(inner / SOFT)
            # Held, as switches are.
            return first * (gate if method == "gradient" else gate.detach())
        case "pad":
            left, right, top, bottom = options["padding"]
            return F.pad(first, (left, right, top, bottom))
    found = _plain(step, taken, weights)
    return found


def by_autograd(program: Program, images: Tensor, method: str) -> list[Tensor]:
    """Each step's value, when it was computed, whose gradient is the projection by `method`."""
    now, values = [images], [images]
    for number, step in enumerate(program.steps, 1):
        taken = [now[place] for place in step.takes]
        values.append(_by_autograd(step, taken, program.weights(number), method))
        now.append(values[-1])
        # What is changed in place is changed under every name that it has.
        if step.form in IN_PLACE:
            root = _root(program, step.takes[0])
            now = [
                values[-1] if _root(program, place) == root else value
                for place, value in enumerate(now)
            ]
    return values


def _root(program: Program, value: int) -> int:
    """The value whose memory a value is."""
    if value == 0:
        return value
    step = program.steps[value - 1]
    same = step.form in IN_PLACE or step.kind == "dropout"
    return _root(program, step.takes[0]) if same else value


def layers(program: Program) -> dict[str, int]:
    """The values that the names of modules mean; without modules that are used twice."""
    latest: dict[int, int] = {}
    users: dict[int, list[int]] = {}
    for number, step in enumerate(program.steps, 1):
        for place in step.takes:
            root = _root(program, place)
            users.setdefault(latest.get(root, place), []).append(number)
        if step.form in IN_PLACE:
            latest[_root(program, number)] = number
    twice = {step.again for step in program.steps}
    found = {}
    for number, step in enumerate(program.steps, 1):
        if not step.form.startswith("module") or number in twice or step.again is not None:
            continue
        value = number
        if step.kind in LAYERS:
            for followers in (("batch_norm",), tuple(RECTIFIERS)):
                after = users.get(value, [])
                if len(after) == 1 and program.steps[after[0] - 1].kind in followers:
                    value = after[0]
        found[f"step{number}"] = value
    return found


PAIRS = {
    "kernel": st.tuples(st.integers(1, 4), st.integers(1, 4)),
    "stride": st.tuples(*[st.sampled_from([1, 1, 2, 3, 5])] * 2),
    "padding": st.tuples(*[st.sampled_from([0, 1, 1, 2, 3, 6])] * 2),
    "dilation": st.tuples(st.integers(1, 2), st.integers(1, 2)),
}
EITHER = st.sampled_from(["module", "function"])
POOLS = ["max_pool", "max_pool", "avg_pool", "adaptive_max", "adaptive_avg"]
OTHERS = (
    "norm batch_norm leaky relu6 hardtanh pad dropout add add sub cat scale halve shift negate "
    "slice cut mean flatten gate squeezed_gate"
).split()
VECTOR_STEPS = ["linear", "linear", "relu", "batch_norm", "add", "cat", "halve", "dropout", "slice"]


@st.composite
def programs(draw: st.DrawFn) -> Program:
    """Networks of up to ten steps on images of up to 14 pixels."""
    size = (draw(st.integers(4, 14)), draw(st.integers(4, 14)))
    program = Program(size, (), draw(st.integers(0, 10_000)))
    values = [torch.zeros(1, 3, *size).double()]
    for _ in range(draw(st.integers(2, 10))):
        step = _drawn_step(draw, program, values)
        if step is None:
            continue
        longer = replace(program, steps=(*program.steps, step))
        weights = longer.weights(len(longer.steps))
        try:
            value = _by_autograd(step, [values[i] for i in step.takes], weights, "gradient")
        except RuntimeError:
            # Larger than its input, or of no size.
            continue
        if 0 in value.shape or max(value.shape[2:], default=1) > LARGEST or value.shape[1] > 600:
            continue
        program, values = longer, [*values, value]
    return program


def _drawn_step(draw: st.DrawFn, program: Program, values: list[Tensor]) -> Step | None:
    latest = len(values) - 1
    # Mostly a chain, so that networks come to be deep.
    place = draw(st.sampled_from([latest, latest, latest, *range(latest + 1)]))
    value = values[place]
    maps, positions = value.shape[1], value.dim() == 4
    if positions:
        kind = draw(st.sampled_from([*["conv"] * 9, *["relu"] * 6, *POOLS, *OTHERS]))
        if kind in ("mean", "flatten") and len(program.steps) < 3:
            kind = "conv"
    else:
        kind = draw(st.sampled_from(VECTOR_STEPS))
    again = [
        number
        for number, step in enumerate(program.steps, 1)
        if step.kind == kind and step.form.startswith("module") and step.again is None
    ]
    if again and draw(st.integers(0, 3)) == 0:
        owner = draw(st.sampled_from(again))
        same = values[program.steps[owner - 1].takes[0]].shape[1] == maps
        if same or not program.weights(owner):
            step = program.steps[owner - 1]
            return _in_place(program, replace(step, takes=(place,), again=owner))
    bias = {"bias": (maps,)} if draw(st.booleans()) else {}
    options: dict[str, Any] = {}
    form = draw(EITHER)
    takes: tuple[int, ...] = (place,)
    if kind == "conv":
        groups = draw(st.sampled_from([g for g in (1, 1, 2, 3) if maps % g == 0]))
        out = groups * draw(st.integers(1, MAPS // groups))
        kernel = draw(PAIRS["kernel"])
        options = {name: draw(PAIRS[name]) for name in ("stride", "padding", "dilation")}
        if options["stride"] == (1, 1) and all(k % 2 for k in kernel) and draw(st.booleans()):
            options["padding"] = draw(st.sampled_from(["same", "valid"]))
        shapes = {"weight": (out, maps // groups, *kernel), **({"bias": (out,)} if bias else {})}
        options |= {"groups": groups, "weights": shapes}
    elif kind == "linear":
        out = draw(st.integers(1, MAPS))
        options = {"weights": {"weight": (out, maps), **({"bias": (out,)} if bias else {})}}
    elif kind == "batch_norm":
        options = {"positions": positions, "weights": dict.fromkeys(STATISTICS, (maps,))}
    elif kind in ("relu", "relu6", "hardtanh", "leaky"):
        forms = ["module", "module_", "function"]
        forms += ["method", "method_", "torch"] if kind == "relu" else []
        form = draw(st.sampled_from(forms))
    elif kind in ("max_pool", "avg_pool"):
        kernel = draw(PAIRS["kernel"])
        options = {
            "kernel_size": kernel,
            "stride": draw(st.none() | PAIRS["stride"]),
            "padding": tuple(draw(st.integers(0, k // 2)) for k in kernel),
            "ceil_mode": draw(st.booleans()),
        }
        if kind == "max_pool":
            options["dilation"] = draw(PAIRS["dilation"])
        else:
            options["count_include_pad"] = draw(st.booleans())
            options["divisor_override"] = draw(st.sampled_from([None, None, 4]))
    elif kind in ("adaptive_max", "adaptive_avg"):
        side = st.none() | st.integers(1, 8)
        options = {"output_size": draw(st.integers(1, 8) | st.tuples(side, side))}
    elif kind == "norm":
        options = {"size": draw(st.integers(1, 5)), "alpha": 0.5, "beta": 0.75, "k": 2.0}
    elif kind == "pad":
        options = {"padding": tuple(draw(st.integers(-2, 4)) for _ in range(4))}
    elif kind in ("add", "sub", "cat", "gate", "squeezed_gate"):
        others = [
            i
            for i, other in enumerate(values)
            if (other.shape == value.shape)
            or (kind == "cat" and other.shape[2:] == value.shape[2:] and other.dim() == value.dim())
        ]
        takes = (place, draw(st.sampled_from(others)))
        form = draw(st.sampled_from(["function", "method", "torch", "operator_"]))
        if "gate" in kind:
            form = draw(st.sampled_from(["function", "method"]))
        if kind == "cat":
            form = draw(st.sampled_from(["function", "torch"]))
            if maps + values[takes[1]].shape[1] > 2 * MAPS:
                return None
    elif kind == "scale":
        shapes = [(maps, 1, 1), tuple(value.shape[1:]), ()]
        options = {"weights": {"weight": draw(st.sampled_from(shapes))}}
        form = "function"
    elif kind in ("slice", "cut"):
        limit = value.shape[1 if kind == "slice" else 2] - 1
        options = {"start": draw(st.integers(0, min(2, limit)))}
        form = "function"
    elif kind == "flatten":
        form = draw(st.sampled_from(["module", "function", "method", "torch"]))
    elif kind in ("halve", "shift", "negate", "mean"):
        form = "function"
    return _in_place(program, Step(kind, takes, options, form))


def _in_place(program: Program, step: Step) -> Step | None:
    """The step, unless it would change in place what is looked at in another shape too."""
    if step.form not in IN_PLACE:
        return step
    views = ("slice", "cut", "flatten")
    roots = {_root(program, other.takes[0]) for other in program.steps if other.kind in views}
    root = _root(program, step.takes[0])
    seen = root in roots or (root > 0 and program.steps[root - 1].kind in views)
    return None if seen else step
