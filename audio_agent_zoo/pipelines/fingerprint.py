"""An identity of loaded weights: the same for the same numbers, wherever they came from."""

from collections.abc import Iterable
from hashlib import sha256

import torch
from torch import nn

_SAMPLES = 4096


@torch.inference_mode()
def fingerprint(networks: Iterable[nn.Module]) -> str:
    """Hex digest over names, shapes, precision and an even sample of the values of every tensor.

    At most 4,096 values of each tensor are read, so that gigabytes take a second; weights that differ are told
    apart unless they differ in a few single values alone.

    Args:
        networks: Networks, in an order that stays.
    """
    digest = sha256()
    for network in networks:
        for name, value in sorted(network.state_dict().items()):
            digest.update(f"{name}|{tuple(value.shape)}|{value.dtype}".encode())
            flat = value.reshape(-1)
            sample = flat[:: max(1, flat.numel() // _SAMPLES)][:_SAMPLES]
            digest.update(sample.to("cpu", torch.float32).numpy().tobytes())
    return digest.hexdigest()
