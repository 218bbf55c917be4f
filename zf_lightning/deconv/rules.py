"""The table of rules: for every operation a network may contain, how it is run and reversed.

A rule is a function `rule(mode, *args, **kwargs) -> (output, Reversal)` that takes what the
function or method takes; the rule of a module takes `(mode, module, input)`. To teach the
deconvnet a new operation, write one and hand it to `Deconvnet(network, rules={...})` under the
module's class, the function, or the method's name.
"""

import operator
from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from zf_lightning.deconv import averages, linear, nonlinear, rectifiers, shapes
from zf_lightning.deconv.reversal import Reversal
from zf_lightning.models.contrast_normalisation import LocalResponseNorm

Rule = Callable[..., tuple[Tensor, Reversal]]
#: A module's class, a function, or the name of a method of tensors.
Operation = type[nn.Module] | Callable[..., Any] | str

RULES: Mapping[Operation, Rule] = {
    nn.Conv2d: linear.convolution_module,
    F.conv2d: linear.convolution,
    nn.Linear: linear.fully_connected_module,
    F.linear: linear.fully_connected,
    # Max and average pooling.
    nn.MaxPool2d: nonlinear.max_pooling_module,
    F.max_pool2d: nonlinear.max_pooling,
    torch.max_pool2d: nonlinear.max_pooling,
    nn.AdaptiveMaxPool2d: nonlinear.adaptive_max_pooling_module,
    F.adaptive_max_pool2d: nonlinear.adaptive_max_pooling,
    nn.AvgPool2d: averages.average_pooling_module,
    F.avg_pool2d: averages.average_pooling,
    nn.AdaptiveAvgPool2d: averages.adaptive_average_pooling_module,
    F.adaptive_avg_pool2d: averages.adaptive_average_pooling,
    torch.mean: averages.mean,
    "mean": averages.mean,
    # ReLU and its relatives.
    nn.ReLU: rectifiers.relu_module,
    F.relu: rectifiers.relu,
    F.relu_: rectifiers.relu,
    torch.relu: rectifiers.relu,
    torch.relu_: rectifiers.relu,
    "relu": rectifiers.relu,
    "relu_": rectifiers.relu,
    nn.ReLU6: rectifiers.hardtanh_module,
    F.relu6: rectifiers.relu6,
    nn.Hardtanh: rectifiers.hardtanh_module,
    F.hardtanh: rectifiers.hardtanh,
    F.hardtanh_: rectifiers.hardtanh,
    nn.LeakyReLU: rectifiers.leaky_relu_module,
    F.leaky_relu: rectifiers.leaky_relu,
    F.leaky_relu_: rectifiers.leaky_relu,
    # Normalisation.
    nn.LocalResponseNorm: nonlinear.contrast_normalisation_module,
    LocalResponseNorm: nonlinear.contrast_normalisation_module,
    F.local_response_norm: nonlinear.contrast_normalisation,
    nn.BatchNorm1d: linear.batch_norm_module,
    nn.BatchNorm2d: linear.batch_norm_module,
    nn.SyncBatchNorm: linear.batch_norm_module,
    F.batch_norm: linear.batch_norm,
    # Shapes.
    nn.Flatten: shapes.flatten_module,
    torch.flatten: shapes.flatten,
    "flatten": shapes.flatten,
    torch.reshape: shapes.reshape,
    "reshape": shapes.reshape,
    "view": shapes.reshape,
    torch.unsqueeze: shapes.unsqueeze,
    "unsqueeze": shapes.unsqueeze,
    torch.squeeze: shapes.squeeze,
    "squeeze": shapes.squeeze,
    operator.getitem: shapes.indexing,
    nn.ZeroPad2d: shapes.zero_padding_module,
    F.pad: shapes.zero_padding,
    # Where branches meet, and arithmetic with numbers.
    operator.add: linear.addition,
    operator.iadd: linear.addition,
    torch.add: linear.addition,
    "add": linear.addition,
    "add_": linear.addition,
    torch.cat: shapes.concatenation,
    torch.concat: shapes.concatenation,
    operator.mul: linear.multiplication,
    operator.imul: linear.multiplication,
    torch.mul: linear.multiplication,
    "mul": linear.multiplication,
    "mul_": linear.multiplication,
    operator.truediv: linear.division,
    operator.itruediv: linear.division,
    torch.div: linear.division,
    "div": linear.division,
    "div_": linear.division,
    # What does nothing in evaluation mode.
    nn.Identity: linear.identity_module,
    nn.Dropout: linear.identity_module,
    nn.Dropout2d: linear.identity_module,
    F.dropout: linear.identity,
    F.dropout2d: linear.identity,
    "contiguous": linear.identity,
    "clone": linear.identity,
}

CONVOLUTIONS: frozenset[Operation] = frozenset({nn.Conv2d, F.conv2d})
#: What layers are: operations with weights.
LAYERS: frozenset[Operation] = CONVOLUTIONS | {nn.Linear, F.linear}
#: A layer that is directly followed by one of these is meant together with it, ...
BATCH_NORMS: frozenset[Operation] = frozenset(
    {nn.BatchNorm1d, nn.BatchNorm2d, nn.SyncBatchNorm, F.batch_norm}
)
#: ... and if then one of these follows, with that as well.
RECTIFIERS: frozenset[Operation] = frozenset(
    {
        nn.ReLU,
        F.relu,
        F.relu_,
        torch.relu,
        torch.relu_,
        "relu",
        "relu_",
        nn.ReLU6,
        F.relu6,
        nn.Hardtanh,
        F.hardtanh,
        F.hardtanh_,
        nn.LeakyReLU,
        F.leaky_relu,
        F.leaky_relu_,
    }
)
#: Operations that hand on the very tensor they were given, in evaluation mode.
SAME_TENSOR: frozenset[Operation] = frozenset(
    {nn.Identity, nn.Dropout, nn.Dropout2d, F.dropout, F.dropout2d, "contiguous"}
)
#: Operations whose output may be their input's memory in another shape.
VIEWS: frozenset[Operation] = frozenset(
    {
        nn.Flatten,
        torch.flatten,
        "flatten",
        torch.reshape,
        "reshape",
        "view",
        torch.unsqueeze,
        "unsqueeze",
        torch.squeeze,
        "squeeze",
        operator.getitem,
    }
)


def rule_key(table: Mapping[Operation, Any], module: nn.Module) -> Operation | None:
    """The class under which `table` has `module`, which may be a subclass with the same forward."""
    for kind in type(module).__mro__:
        if kind in table and issubclass(kind, nn.Module):
            # What computes something else is not what the rule was written for.
            same = type(module).forward is kind.forward and "forward" not in vars(module)
            return kind if same else None
    return None
