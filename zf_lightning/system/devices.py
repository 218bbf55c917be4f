"""The device to compute on."""

from collections.abc import Mapping
from typing import Any

import torch

from zf_lightning.errors import UserError

#: The accelerators that are known here; Lightning's Trainer knows others too.
ACCELERATORS = ("auto", "cpu", "gpu", "cuda", "mps")
#: Values of `trainer.devices` that can mean one device.
ONE_DEVICE = ("auto", -1, "-1", 1, "1")


def chosen_device(trainer: Mapping[str, Any]) -> torch.device:
    """The device that `trainer.accelerator` and `trainer.devices` mean, the first of several.

    Raises UserError if it is not there: no task computes elsewhere than it was told to.
    """
    wanted = str(trainer.get("accelerator", "auto"))
    if wanted not in ACCELERATORS:
        raise UserError(
            f"trainer.accelerator={wanted} is not one of {', '.join(ACCELERATORS)}, which this "
            "task can use."
        )
    gpus = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    usable = [kind for kind, there in gpus.items() if there and wanted in ("auto", "gpu", kind)]
    if not usable and wanted not in ("auto", "cpu"):
        raise UserError(
            f"trainer.accelerator={wanted}, but this machine has no such GPU: leave it out, or "
            "give trainer.accelerator=cpu."
        )
    if not usable:
        return torch.device("cpu")
    if usable[0] == "mps":
        return torch.device("mps")
    number, count = _first(trainer.get("devices", "auto")), torch.cuda.device_count()
    if number >= count:
        raise UserError(f"trainer.devices asks for GPU {number}, but there are {count}, from 0 on.")
    return torch.device("cuda", number)


def asks_for_several(devices: Any) -> bool:
    """Whether `trainer.devices` means more than one device, whatever this machine has."""
    return devices not in ONE_DEVICE and not (isinstance(devices, list) and len(devices) == 1)


def _first(devices: Any) -> int:
    """The first GPU of `devices`: how many, or which ones, also as text (`1,` or `0,1`)."""
    if isinstance(devices, str) and "," in devices:
        devices = devices.split(",")
    return 0 if isinstance(devices, int | str) else int(devices[0])
