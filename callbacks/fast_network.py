"""Memory layout and compilation of the network, for speed."""

import logging
from dataclasses import dataclass

import torch
from lightning import Callback, LightningModule, Trainer

from zf_lightning.system.compat import is_compile_error, is_compiled
from zf_lightning.training.module import ImageClassifier

log = logging.getLogger(__name__)


@dataclass(kw_only=True, eq=False)
class FastNetwork(Callback):
    """Puts the network's weights in the channels-last layout, and compiles it, in place.

    In place, so that names of weights, checkpoints, and everything that traces the network or
    changes its weights stay as they are. It remains so after the run.

    Each batch size is compiled separately: one program for all sizes would be slower for whole
    batches, which nearly all are. Beyond eight sizes PyTorch runs further ones uncompiled. Nor is
    a training step compiled whose feature maps are captured (`probe.split=train`).

    Args:
        channels_last: the weights of convolutions lie in memory as `[maps, kernel, kernel, inputs]`
            and feature maps as `[N, H, W, C]`, as matrix units want them; shapes stay.
        compile: by `torch.compile`, at the first batch; that takes a minute.
    """

    channels_last: bool
    compile: bool

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        """Prepare the network, or all of an ensemble, before it is moved to its device."""
        for module in pl_module.modules():
            if isinstance(module, ImageClassifier):
                if self.channels_last:
                    module.network.to(memory_format=torch.channels_last)
                # Not a second time for the test that follows a training.
                if self.compile and not is_compiled(module.network):
                    module.network.compile(dynamic=False)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        """Say what helps where the network cannot be compiled."""
        if self.compile and is_compile_error(exception):
            log.error(
                "The network could not be compiled on this machine; "
                "callbacks.fast_network.compile=false runs it as it is."
            )
