"""The optimizer and the learning-rate course shared by every stage."""

from collections.abc import Iterable

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import nn
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR


def adamw_with_warmup(
    parameters: Iterable[nn.Parameter],
    learning_rate: float,
    *,
    total_steps: int,
    warmup_steps: int = 100,
    weight_decay: float = 0.01,
    final_share: float = 0.05,
) -> OptimizerLRScheduler:
    """AdamW whose rate rises linearly over `warmup_steps`, then falls on a cosine to `final_share` of itself."""
    optimizer = AdamW(list(parameters), lr=learning_rate, weight_decay=weight_decay, betas=(0.9, 0.99))

    def share(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        done = min(1.0, (step - warmup_steps) / max(1, total_steps - warmup_steps))
        return final_share + (1 - final_share) * 0.5 * (1 + float(torch.cos(torch.tensor(done * torch.pi))))

    return {
        "optimizer": optimizer,
        "lr_scheduler": {"scheduler": LambdaLR(optimizer, share), "interval": "step"},
    }
