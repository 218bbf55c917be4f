"""Activations at one position of a layer, as a function of the pixels in its receptive field.

Only the receptive-field crop goes through the network, as in a projection from crops.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, fx

from zf_lightning.deconv import Deconvnet, Window
from zf_lightning.deconv.crops import Positions, crop_inputs, crop_pixels, fill_output
from zf_lightning.deconv.precision import full_precision
from zf_lightning.deconv.projection import projecting
from zf_lightning.deconv.running import run_operation


class PlaceResponse:
    """The feature maps of a layer at one position, as a function of the pixels they see.

    Args:
        deconvnet: of the network, whatever its method.
        image: float `[3, H, W]` as the network takes it.
        layer: with positions or without.
        row, column: the position; 0 in a layer without.

    Raises:
        UserError: the layer does not exist, or its units see no window of the image.
    """

    def __init__(
        self, deconvnet: Deconvnet, image: Tensor, layer: str, row: int = 0, column: int = 0
    ) -> None:
        self._deconvnet, self._image, self._layer = deconvnet, image, layer
        self._at = (row, column)
        field = deconvnet.receptive_fields([layer], (image.shape[1], image.shape[2]))[layer]
        at = torch.tensor([row]), torch.tensor([column])
        top, left = (int(start) for start in field.tiles(*at))
        #: The unit's tile, as projections have it; it may reach beyond the border.
        self.tile = Window(top, left, *field.tile_size)
        #: The part of the tile that lies in the image.
        self.window = self.tile.clipped(field.input_size)
        self._plan = deconvnet.crop_plan(layer, (image.shape[0], image.shape[1], image.shape[2]))

    def of_window(self, values: Tensor) -> Tensor:
        """Cut tile values `[..., h, w]` to the part inside the image."""
        top, left = self.window.top - self.tile.top, self.window.left - self.tile.left
        return values[..., top : top + self.window.height, left : left + self.window.width]

    @property
    def pixels(self) -> Tensor:
        """The image's pixels in `window`: `[3, h, w]`."""
        return self.of_image(self._image)

    def of_image(self, values: Tensor) -> Tensor:
        """Cut values of the whole image `[..., H, W]` to `window`."""
        top, left, height, width = self.window
        return values[..., top : top + height, left : left + width]

    @torch.no_grad()
    def __call__(self, windows: Tensor) -> Tensor:
        """Activations `[N, C]` of all feature maps, for `windows` `[N, 3, h, w]` in the image."""
        size = self._deconvnet.batch_size
        return torch.cat([self._activations(some) for some in windows.split(size)])

    def _activations(self, windows: Tensor) -> Tensor:
        top, left, height, width = self.window
        images = self._image.repeat(len(windows), 1, 1, 1)
        images[:, :, top : top + height, left : left + width] = windows
        with full_precision(images.device):
            if self._plan is None or self._plan.share >= 1:
                maps = self._deconvnet.feature_maps(images, [self._layer])[self._layer]
                return maps if maps.dim() == 2 else maps[:, :, self._at[0], self._at[1]]
            return self._in_crops(images)

    def _in_crops(self, images: Tensor) -> Tensor:
        graph, operations, plan = self._deconvnet.graph, self._deconvnet.operations, self._plan
        assert plan is not None
        each = torch.arange(len(images), device=images.device)
        rows, columns = (torch.full_like(each, at) for at in self._at)
        positions = Positions(each, rows, columns)

        def run(node: fx.Node, values: Mapping[fx.Node, Any]) -> Any:
            taken = crop_inputs(plan, positions, node, values)
            output, _ = run_operation(graph, operations, node, taken, crop=plan.localities[node])
            return fill_output(plan, positions, node, output)

        # With autograd, as for a projection: rules treat values without gradient as constants.
        with projecting(graph.network, images.device):
            pixels = crop_pixels(graph, plan, images, positions).requires_grad_()
            (output,) = graph.walk(pixels, [plan.node], run).values()
        return output.detach()[:, :, 0, 0]
