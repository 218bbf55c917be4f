"""Units of a network projected back to pixels (Sec. 2.1)."""

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, fx, nn

from zf_lightning.deconv.backward import Method, MethodName, NormName
from zf_lightning.deconv.crops import CropPlan
from zf_lightning.deconv.cross_check import CrossCheck
from zf_lightning.deconv.geometry import Geometries, Geometry
from zf_lightning.deconv.operations import Operations
from zf_lightning.deconv.projection import (
    ForwardState,
    Part,
    Projector,
    in_crops_is_less_work,
    projecting,
)
from zf_lightning.deconv.receptive_field import (
    ReceptiveField,
    cut_out,
    inside_image,
    paste,
)
from zf_lightning.deconv.shared import CropUnits
from zf_lightning.deconv.units import (
    Projections,
    Unit,
    Units,
    WindowProjections,
    by_layer,
    check_images,
    check_range,
    check_unit,
)
from zf_lightning.errors import UserError
from zf_lightning.graph import Graph, capture, compiled_capture, find_layers
from zf_lightning.graph.operations import Operation
from zf_lightning.graph.trace import construction

if TYPE_CHECKING:
    from zf_lightning.atlas.stream import FoundActivations


class Deconvnet:
    """Projects units of a network back to the pixels that excited them.

    The seed is the unit's own activation, so that projections of different images compare, and a
    dead unit projects to exactly zero; biases take no part in the way down. The network is only
    read: its mode, hooks, gradients and the random state stay as they are, and weights that change
    later are seen.

    Args:
        network: takes images `[N, 3, H, W]`.
        method: what a ReLU does to the signal, see `Method`.
        norm: what contrast normalisation does to the signal, see `Method`.
        rules: operations of the user's own, by module class, function or method name, see
            `zf_lightning.deconv.operations`.
        batch_size: most images and most units that are worked on at a time.
        crops: whether units are projected from their receptive fields only (True), or with the
            whole image (False); None: whichever is less work for the units of an image. Layers
            whose units have no such crop are always projected with the whole image.
        cross_check: compare some units of each layer with the network's own forward pass, the
            first time and whenever weights, buffers, hooks or modes have changed: two passes of
            one image. Where they differ, projecting raises UserError.

    Raises:
        UserError: the network cannot be traced to a graph.

    Example:
        >>> deconvnet = Deconvnet(network)
        >>> unit = Unit(image=0, layer="conv5", feature_map=7, row=6, column=6)
        >>> deconvnet.project(images, [unit]).pixels  # [1, 3, H, W]
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        method: MethodName = "deconvnet",
        norm: NormName = "identity",
        rules: Mapping[Operation, Callable[..., Tensor]] | None = None,
        batch_size: int = 32,
        crops: bool | None = None,
        cross_check: bool = True,
    ) -> None:
        self.operations = Operations(Method(method, norm), rules or {})
        self.batch_size = batch_size
        self.crops = crops
        self.cross_check = cross_check
        self._cross_check = CrossCheck()
        self._trace(network)

    def _trace(self, network: nn.Module) -> None:
        self._graph = Graph(network, whole_modules=self.operations.whole_modules)
        self._geometries = Geometries(self._graph, self._forward_blank)
        self._apart: set[str] = set()

    def __reduce__(self) -> Any:
        """Copied and pickled as the network and the options; traced anew."""
        options = {name: getattr(self, name) for name in ("batch_size", "crops", "cross_check")}
        options |= {"method": self.method.name, "norm": self.method.norm}
        rebuild = partial(Deconvnet, rules=self.operations.rules, **options)
        return rebuild, (self._graph.network,)

    @property
    def graph(self) -> Graph:
        """Of the network as it is now: traced again where modules or their hooks have changed."""
        if self._graph.construction != construction(self._graph.network):
            self._trace(self._graph.network)
        return self._graph

    @property
    def layers(self) -> tuple[str, ...]:
        """Names of the layers with weights, from the input on."""
        return self.graph.layers

    @property
    def method(self) -> Method:
        """How a signal goes down through what is not linear."""
        return self.operations.method

    @property
    def device(self) -> torch.device:
        """Where the network's weights are, and images have to be."""
        return self.graph.weights.device

    def forward(self, images: Tensor, layers: Collection[str]) -> ForwardState:
        """Run images `[N, 3, H, W]` up to `layers`, and save what projecting their units needs.

        One state serves any number of units; its `outputs` are the layers' feature maps, and its
        `backward` takes any signal down from them.
        Raises UserError for a layer that does not exist, or an operation that has no backward rule.
        """
        check_images(images, self.graph.weights)
        return self._forward(images, self.graph.nodes(layers))

    def _forward(self, images: Tensor, nodes: Mapping[str, fx.Node]) -> ForwardState:
        with projecting(self._graph.network, images.device):
            return self._projector.forward(images, nodes)

    def _forward_blank(self, images: Tensor, nodes: Mapping[str, fx.Node]) -> ForwardState:
        # Whether images stay apart cannot be seen from such.
        with projecting(self._graph.network, images.device):
            operations = replace(self.operations, places=True)
            projector = Projector(self._graph, operations, self.batch_size, {*nodes})
            return projector.forward(images, nodes)

    @property
    def _projector(self) -> Projector:
        return Projector(self._graph, self.operations, self.batch_size, self._apart)

    def with_feature_maps(
        self, images: Tensor, layers: Collection[str]
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The network's output for images `[N, 3, H, W]`, and the outputs of `layers` on the way.

        It is the network's own forward pass in evaluation mode, also with operations that have no
        backward rule. Raises UserError for a layer that does not exist.
        """
        return capture(self.graph, images, layers)

    def compiled_with_feature_maps(
        self, layers: Collection[str]
    ) -> Callable[[Tensor], tuple[Tensor, dict[str, Tensor]]]:
        """`with_feature_maps` for these layers, compiled for each size of batch."""
        return compiled_capture(self.graph, layers)

    def feature_maps(self, images: Tensor, layers: Collection[str]) -> dict[str, Tensor]:
        """Like `with_feature_maps`, going no higher than the layers."""
        check_images(images, self.graph.weights)
        return capture(self.graph, images, layers, only=True)[1]

    def shapes(
        self, layers: Collection[str], input_size: tuple[int, int]
    ) -> dict[str, tuple[int, ...]]:
        """Shape of the output of each layer for one image, `(C, H, W)` or `(C,)`."""
        found = self._geometry_for_size(layers, input_size)
        return {layer: geometry.shape for layer, geometry in found.items()}

    def find_layers(self, asked: str | Sequence[str]) -> list[str]:
        """The layers that names and patterns mean, from the input on, each once.

        Args:
            asked: `conv` (every convolution), `all` (every layer with weights), names of modules
                or graph nodes, patterns with `*` and `?` over the layers; one or several.

        Raises:
            UserError: one of them means no layer.
        """
        return find_layers(self.graph, asked)

    def receptive_fields(
        self, layers: Collection[str], input_size: tuple[int, int]
    ) -> dict[str, ReceptiveField]:
        """Which pixels of an image of `input_size` (height, width) the units of `layers` see.

        Raises UserError where an operation's output has no window in its input.
        """
        found = self._geometry_for_size(layers, input_size)
        return {layer: geometry.receptive_field for layer, geometry in found.items()}

    def crop_plan(self, layer: str, shape: tuple[int, int, int]) -> CropPlan | None:
        """How units of `layer` are computed in crops, for images of `shape` (C, H, W).

        None where they are not: the layer has no positions, or an operation below it cannot be run
        on crops, or only on those of an image that is known as a whole.
        """
        plan = self._geometry([layer], shape)[layer].plan
        return None if plan is None or plan.constants else plan

    def _geometry_for_size(
        self, layers: Collection[str], input_size: tuple[int, int]
    ) -> dict[str, Geometry]:
        channels = self.graph.input_channels
        try:
            return self._geometry(layers, (channels, *input_size))
        except UserError:
            if channels == 3:
                raise
        # What comes before the first convolution may make channels of pixels.
        return self._geometry(layers, (3, *input_size))

    def _geometry(self, layers: Collection[str], shape: tuple[int, ...]) -> dict[str, Geometry]:
        _ = self.graph  # Of the network as it is now.
        return self._geometries.of(layers, shape)

    def top_activations(
        self,
        batches: Iterable[Any],
        *,
        layers: str | Sequence[str] = "conv",
        k: int = 9,
        keep_images: bool = False,
    ) -> "FoundActivations":
        """The `k` strongest images of every feature map of some layers, in a stream of batches.

        Args:
            batches: tensors of images, or tuples that begin with one, as a DataLoader gives them.
                An image's index is its position in this stream, from 0 on.
            layers: see `find_layers`.
            keep_images: keep the images that are among the strongest, in bounded memory, for a
                stream that cannot be read again.

        Example:
            >>> found = deconvnet.top_activations(loader, layers="conv5", keep_images=True)
            >>> images, units = found.units("conv5", feature_map=7)
            >>> deconvnet.project(images, units).pixels  # [9, 3, H, W]
        """
        # Of use in a notebook; the atlas knows the deconvnet, and not the other way round.
        from zf_lightning.atlas.stream import find_top_activations

        return find_top_activations(
            self, batches, layers=self.find_layers(layers), k=k, keep_images=keep_images
        )

    def project(self, images: Tensor, units: Sequence[Unit] | Units) -> Projections:
        """Project units, each to all the pixels of its image.

        Args:
            images: float `[N, 3, H, W]` as the network takes them.
            units: any number, of any layers; `image` is a position in `images`. Those of one
                image share its forward pass, those of one layer go down together.

        Raises:
            UserError: a unit does not exist, or an operation below it has no rule.
        """
        check_images(images, self.graph.weights)
        groups = by_layer(units, images.device)
        with projecting(self._graph.network, images.device):
            # Here no tensors of an inference mode, which could not be filled.
            pixels = images.new_zeros(len(units), *images.shape[1:])
            activations = images.new_zeros(len(units))
            for part in self._parts(images, [group for group, _ in groups]):
                places = groups[part.group][1][part.places]
                activations[places] = part.activations
                if part.starts is None:
                    pixels[places] = part.pixels
                else:
                    paste(part.pixels, pixels, places, *part.starts)
        self._check(images, [(group, activations[places]) for group, places in groups])
        return Projections(pixels, activations)

    def project_windows(self, images: Tensor, units: Sequence[Unit] | Units) -> WindowProjections:
        """Project units of one layer, each to the window that it sees.

        The windows are `ReceptiveField.tiles`, and the arguments those of `project`.
        """
        groups = by_layer(units, images.device)
        if len(groups) != 1:
            raise UserError(
                "Windows of different layers differ in size: project one layer a call."
                if groups
                else "There are no units, and so no windows."
            )
        return self.project_layers(images, [groups[0][0]])[0]

    def project_layers(self, images: Tensor, groups: Sequence[Units]) -> list[WindowProjections]:
        """Like `project_windows` for several layers, which share what they have in common."""
        parts: list[list[tuple[Tensor, WindowProjections]]] = [[] for _ in groups]
        for number, places, found in self.project_parts(images, groups):
            parts[number].append((places, found))
        return [_in_order(found) for found in parts]

    def project_parts(
        self, images: Tensor, groups: Sequence[Units]
    ) -> Iterator[tuple[int, Tensor, WindowProjections]]:
        """Like `project_layers`, some units at a time, without memory for all of them.

        Yields the number of a group, places `[U]` among its units, and what they project to. At the
        end the cross-check may raise UserError.
        """
        check_images(images, self.graph.weights)
        device = images.device
        parts = self._parts(images, groups)
        with projecting(self._graph.network, device):
            activations = [images.new_zeros(len(group)) for group in groups]
        while True:
            # Between two parts the modes are the caller's.
            with projecting(self._graph.network, device):
                part = next(parts, None)
                if part is None:
                    break
                activations[part.group][part.places] = part.activations
                found = self._windows_of(part, tuple(images.shape[1:]))
            yield part.group, part.places, found
        self._check(images, [*zip(groups, activations, strict=True)])

    def _windows_of(self, part: Part, shape: tuple[int, ...]) -> WindowProjections:
        layer = part.units.layer
        field = self._geometries.of({layer}, shape)[layer].receptive_field
        tops, lefts = field.tiles(part.units.rows, part.units.columns)
        windows = part.pixels
        if part.starts is None or tuple(windows.shape[2:]) != field.tile_size:
            top, left = part.starts or (0, 0)
            each = torch.arange(len(part.units), device=windows.device)
            windows = cut_out(windows, each, tops - top, lefts - left, field.tile_size)
        inside = inside_image(tops, lefts, field.tile_size, field.input_size)
        return WindowProjections(windows, part.activations, tops, lefts, inside)

    def _check(self, images: Tensor, projected: Sequence[tuple[Units, Tensor]]) -> None:
        if self.cross_check:
            self._cross_check(self._graph, images, projected)

    def _parts(self, images: Tensor, groups: Sequence[Units]) -> Iterator[Part]:
        """The units of several layers, projected some at a time, by the graph as it was last seen.

        Raises UserError for a unit that does not exist.
        """
        shape = tuple(images.shape[1:])
        geometry = self._geometries.of({group.layer for group in groups}, shape)
        projector = self._projector
        crops, whole = [], []
        for number, group in enumerate(groups):
            check_range("image", group.images, len(images))
            check_unit(group, geometry[group.layer].shape)
            plan = geometry[group.layer].plan
            in_crops = self._in_crops(plan, group.images)
            if plan is not None and in_crops.any():
                places = in_crops.nonzero()[:, 0]
                crops.append(CropUnits(number, group[places], places, plan))
            whole.append((number, group, (~in_crops).nonzero()[:, 0]))
        yield from projector.in_crops(images, crops)
        yield from projector.in_whole_images(images, whole)

    def _in_crops(self, plan: CropPlan | None, images: Tensor) -> Tensor:
        """`[U]` bool: which units of a layer are projected in crops, given the image of each."""
        if plan is None or self.crops is not None:
            return torch.full_like(images, plan is not None and bool(self.crops), dtype=torch.bool)
        return in_crops_is_less_work(plan.share, images, shared=bool(plan.constants))


def _in_order(parts: list[tuple[Tensor, WindowProjections]]) -> WindowProjections:
    number = sum(len(places) for places, _ in parts)
    whole = {
        name: values.new_empty(number, *values.shape[1:])
        for name, values in vars(parts[0][1]).items()
    }
    for places, part in parts:
        at: Tensor | slice = places
        if places.device.type == "cpu" and int(places[-1] - places[0]) == len(places) - 1:
            # One behind the other, as most are: a slice is filled in half the time.
            at = slice(int(places[0]), int(places[-1]) + 1)
        for name, values in vars(part).items():
            whole[name][at] = values
    return WindowProjections(**whole)
