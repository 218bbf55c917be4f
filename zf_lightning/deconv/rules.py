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

from zf_lightning.deconv import linear, nonlinear
from zf_lightning.deconv.reversal import Reversal

Rule = Callable[..., tuple[Tensor, Reversal]]
#: A module's class, a function, or the name of a method of tensors.
Operation = type[nn.Module] | Callable[..., Any] | str

RULES: Mapping[Operation, Rule] = {
    nn.Conv2d: linear.convolution_module,
    F.conv2d: linear.convolution,
    nn.Linear: linear.fully_connected_module,
    F.linear: linear.fully_connected,
    nn.MaxPool2d: nonlinear.max_pooling_module,
    F.max_pool2d: nonlinear.max_pooling,
    torch.max_pool2d: nonlinear.max_pooling,
    nn.ReLU: nonlinear.relu_module,
    F.relu: nonlinear.relu,
    F.relu_: nonlinear.relu,
    torch.relu: nonlinear.relu,
    torch.relu_: nonlinear.relu,
    "relu": nonlinear.relu,
    "relu_": nonlinear.relu,
    nn.LocalResponseNorm: nonlinear.contrast_normalisation_module,
    F.local_response_norm: nonlinear.contrast_normalisation,
    nn.Flatten: linear.flatten_module,
    torch.flatten: linear.flatten,
    "flatten": linear.flatten,
    torch.reshape: linear.reshape,
    "reshape": linear.reshape,
    "view": linear.reshape,
    nn.ZeroPad2d: linear.zero_padding_module,
    F.pad: linear.zero_padding,
    operator.add: linear.addition,
    operator.iadd: linear.addition,
    torch.add: linear.addition,
    "add": linear.addition,
    "add_": linear.addition,
    torch.cat: linear.concatenation,
    torch.concat: linear.concatenation,
    nn.Identity: linear.identity_module,
    nn.Dropout: linear.identity_module,
    nn.Dropout2d: linear.identity_module,
    F.dropout: linear.identity,
    F.dropout2d: linear.identity,
    "contiguous": linear.identity,
    "clone": linear.identity,
}

#: A layer that is directly followed by one of these is meant together with it.
RECTIFIERS: frozenset[Operation] = frozenset(
    {nn.ReLU, F.relu, F.relu_, torch.relu, torch.relu_, "relu", "relu_"}
)
#: What layers are: operations with weights.
LAYERS: frozenset[Operation] = frozenset({nn.Conv2d, nn.Linear, F.conv2d, F.linear})
#: Operations that hand on the very tensor they were given, in evaluation mode.
SAME_TENSOR: frozenset[Operation] = frozenset(
    {nn.Identity, nn.Dropout, nn.Dropout2d, F.dropout, F.dropout2d, "contiguous"}
)
#: Operations whose output may be their input's memory in another shape.
VIEWS: frozenset[Operation] = frozenset(
    {nn.Flatten, torch.flatten, "flatten", torch.reshape, "reshape", "view"}
)


def rule_key(table: Mapping[Operation, Any], module: nn.Module) -> Operation | None:
    """The class under which `table` has `module`, which may be a subclass with the same forward."""
    for kind in type(module).__mro__:
        if kind in table and issubclass(kind, nn.Module):
            # What computes something else is not what the rule was written for.
            same = type(module).forward is kind.forward and "forward" not in vars(module)
            return kind if same else None
    return None
