"""What a layer is, as data: the vocabulary of `conf/model` and `conf/ablation`."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from zf_lightning.errors import UserError


@dataclass(frozen=True)
class Specification:
    """Something that can be read from a plain mapping, as it comes from YAML or a checkpoint."""

    @classmethod
    def read(cls, values: "Mapping[str, Any] | Self", *, name: str) -> Self:
        """Build one from `values`; `name` is how a message calls it.

        Raises UserError for a key that does not exist or one that is missing.
        """
        if isinstance(values, cls):
            return values
        known = {field.name for field in fields(cls)}
        unknown = sorted(set(values) - known)  # type: ignore[arg-type]
        if unknown:
            raise UserError(
                f"{name} has no option {', '.join(unknown)}; it has {', '.join(sorted(known))}."
            )
        try:
            return cls(**values)  # type: ignore[arg-type]
        except TypeError as problem:
            raise UserError(f"{name} is incomplete: {problem}.") from problem


@dataclass(frozen=True)
class Pooling(Specification):
    """Max pooling over `kernel`×`kernel` windows, `stride` apart."""

    kernel: int
    stride: int
    #: Keep a last window that hangs over the border.
    ceil_mode: bool = False


@dataclass(frozen=True)
class ContrastNormalisation(Specification):
    """Normalisation across feature maps, in the convention of `torch.nn.LocalResponseNorm`."""

    size: int
    alpha: float
    beta: float
    k: float


@dataclass(frozen=True)
class Convolution(Specification):
    """One stage in the paper's order: convolution, ReLU, max pooling, contrast normalisation."""

    maps: int
    kernel: int
    stride: int = 1
    padding: int = 0
    groups: int = 1
    #: Round the output size up instead of down, by zeros at the right and the bottom, as
    #: cuda-convnet does.
    ceil_mode: bool = False
    pool: Pooling | None = None
    norm: bool = False

    def __post_init__(self) -> None:
        if self.pool is not None:
            object.__setattr__(self, "pool", Pooling.read(self.pool, name="pool"))


@dataclass(frozen=True)
class FullyConnected(Specification):
    """A fully connected layer, ReLU and dropout of its outputs."""

    units: int
    dropout: float = 0.0


#: Parts of a model that list layers.
LAYER_KINDS = ("convs", "fcs")


def apply_ablation(
    model: Mapping[str, Any], ablation: Mapping[str, Any], *, name: str = "ablation"
) -> dict[str, Any]:
    """Change the layers of `model` as `ablation` says (Table 3): `null` removes a layer.

    `model` and `ablation` are plain mappings with the keys `convs` and `fcs`, each from a layer's
    name to its options. What `ablation` does not mention stays as it is. `name` is how a message
    calls it.
    Raises UserError if `ablation` names a layer that `model` does not have.
    """
    changed = dict(model)
    if model.get("network") is not None and any(ablation.get(kind) for kind in LAYER_KINDS):
        raise UserError(
            f"{name} changes layers of a specification, and model={model['name']} is made by "
            f"{model['network']['_target_']}: it has no such layers to change."
        )
    for kind in LAYER_KINDS:
        layers = dict(model.get(kind) or {})
        for layer, options in (ablation.get(kind) or {}).items():
            if layers.get(layer) is None:
                present = [name for name, values in layers.items() if values is not None]
                raise UserError(
                    f"{name} {'removes' if options is None else 'changes'} {layer}, which the "
                    f"network does not have (its {kind}: {', '.join(present) or 'none'})."
                )
            layers[layer] = None if options is None else _merged(layers[layer], options)
        changed[kind] = layers
    return changed


def _merged(options: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(options)
    for key, value in changes.items():
        inner = merged.get(key)
        both = isinstance(value, Mapping) and isinstance(inner, Mapping)
        merged[key] = _merged(inner, value) if both else value  # type: ignore[arg-type]
    return merged
