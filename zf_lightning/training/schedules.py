"""Learning-rate schedules that PyTorch does not have in the form needed here."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def one_cycle(optimizer: Optimizer, *, total_steps: int, warmup_share: float) -> LambdaLR:
    """Linearly from zero up to the optimizer's own learning rate, then down along a cosine.

    Unlike `torch.optim.lr_scheduler.OneCycleLR` it leaves the momentum alone and takes the highest
    learning rate from the optimizer, where the user sets it. It advances once a step.
    """
    warmup = max(1, round(warmup_share * total_steps))

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        done = min(1.0, (step - warmup) / max(1, total_steps - warmup))
        return 0.5 * (1 + math.cos(math.pi * done))

    return LambdaLR(optimizer, factor)
