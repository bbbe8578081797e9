"""Trained weights spread over processes by FSDP2 (`ModelParallelStrategy`), and put together again to be written."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

import torch
from lightning import LightningModule
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor, distribute_tensor

_SCALARS: WeakKeyDictionary[nn.Module, set[str]] = WeakKeyDictionary()
"""Parameters without an axis, which FSDP2 refuses: they have one of size 1 while they are spread."""


def shard(training: LightningModule, parts: Iterable[nn.Module]) -> None:
    """Spread the weights of `parts`, innermost first, if the trainer's strategy says so; else do nothing.

    Raises:
        ValueError: If the strategy wants tensor parallelism, which no stage knows.
    """
    mesh = training.device_mesh
    if mesh is None:
        return
    if (size := mesh["tensor_parallel"].size()) > 1:
        raise ValueError(
            f"tensor_parallel_size is {size}; give ModelParallelStrategy tensor_parallel_size: 1 and "
            "data_parallel_size: the number of processes."
        )
    for part in parts:
        for module in part.modules():
            for name, parameter in module._parameters.items():
                if parameter is not None and parameter.dim() == 0:
                    module._parameters[name] = nn.Parameter(parameter.detach().reshape(1), parameter.requires_grad)
                    _SCALARS.setdefault(module, set()).add(name)
        # Also at the root: the average reads the parameters after a forward without a backward.
        fully_shard(part, mesh=mesh["data_parallel"], reshard_after_forward=True)


def gathered(tensor: Tensor) -> Tensor:
    """The whole of a tensor; every process must ask for it."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def spread_like(whole: Tensor, parameter: Tensor) -> Tensor:
    """The whole tensor in the shape of `parameter`, and spread as it is."""
    whole = whole.reshape(parameter.shape)
    if not isinstance(parameter, DTensor) or isinstance(whole, DTensor):
        return whole
    return distribute_tensor(whole.to(parameter.device), parameter.device_mesh, parameter.placements)


@contextmanager
def whole(module: nn.Module) -> Iterator[None]:
    """Plain parameters in place of spread ones, for what is trained; every process must enter."""
    spread = [
        (part, name, parameter)
        for part in module.modules()
        for name, parameter in part._parameters.items()
        if isinstance(parameter, DTensor) and parameter.requires_grad
    ]
    with torch.no_grad():
        for part, name, parameter in spread:
            assert parameter is not None
            value = gathered(parameter.detach())
            part._parameters[name] = nn.Parameter(value.squeeze() if name in _SCALARS.get(part, ()) else value)
    try:
        yield
    finally:
        for part, name, parameter in spread:
            part._parameters[name] = parameter
