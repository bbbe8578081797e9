"""Loaders of the classifiers that KL figures stand on: PaSST of AudioSet and Melception of VGGSound."""

from pathlib import Path
from typing import Literal, get_args

import torch

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.metrics.features import FeatureNetwork, on_device
from audio_agent_zoo.metrics.public_weights import (
    MELCEPTION_STATISTICS,
    PUBLIC_WEIGHTS,
    file_hash,
    load_exactly,
    pinned_file,
    read_state,
    weights_file,
)
from audio_agent_zoo.models.melception import BANDS, Melception
from audio_agent_zoo.models.melception import SAMPLE_RATE as MELCEPTION_RATE
from audio_agent_zoo.models.passt import SAMPLE_RATE as PASST_RATE
from audio_agent_zoo.models.passt import Passt

PASST, MELCEPTION = PUBLIC_WEIGHTS["passt"], PUBLIC_WEIGHTS["melception"]

Output = Literal["logits", "embedding"]
"""Class logits for KL and inception score, or what they are made from for distances."""


def passt(
    path: str | Path | None = None,
    output: Output = "logits",
    *,
    expected_sha256: str | None = PASST.sha256,
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """PaSST, whose logits KL-PaSST compares: `(clips, samples)` at 32 kHz to a row per clip, its first 10 s.

    As in MMAudio's benchmark, which besides subtracts the mean of each clip before. AudioGen's code pads nothing, and
    takes each stretch of up to 10 s for a clip of its own.

    Args:
        path: The public `passt-s-f128-p16-s10-ap.476-swa.pt`.
        output: 527 logits, or the 768 numbers that FD-PaSST is taken of.
        expected_sha256: What the file has to hash to; None takes any file of that layout.
        device: Where it runs.

    Raises:
        ValueError: For an unknown output.
        WeightsError: If the file is missing (the message names the download), of another hash, damaged or no PaSST.
    """
    _check_output(output)
    file = weights_file(path, PASST, expected_sha256)
    state = read_state(file)
    try:
        dim, n_classes = state["norm.weight"].numel(), len(state["head_dist.weight"])
    except KeyError as error:
        raise WeightsError(f"{file} is no PaSST: it has no {error}. {PASST.how_to_get}") from error
    depth = len({key.split(".")[1] for key in state if key.startswith("blocks.")})
    # Published networks of every size have heads of 64.
    network = Passt(dim, depth, max(1, dim // 64), n_classes)
    load_exactly(network, state, file)
    network.to(device)
    compute, width = (network.forward, n_classes) if output == "logits" else (network.features, dim)
    details: dict[str, str | int | float] = {"output": output, "heard": "first 10 s", "sha256": file_hash(file)}
    return FeatureNetwork("passt", on_device(device, compute), width, PASST_RATE, "FD-PaSST", details)


def melception(
    path: str | Path | None = None,
    statistics: str | Path | None = None,
    output: Output = "logits",
    *,
    expected_sha256: str | None = None,
    expected_statistics_sha256: str | None = MELCEPTION_STATISTICS.sha256,
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """Melception, whose logits MKL compares: `(clips, samples)` at 22.05 kHz to a row per clip, its first 10 s.

    Args:
        path: The public `melception-21-05-10T09-28-40.pt`.
        statistics: The public `train_means_stds_melspec_10s_22050hz.txt`, which lies beside its code: a mean and a
            spread for each of 80 bands.
        output: 309 logits, or the 2048 numbers that FID of spectrograms is taken of.
        expected_sha256: What the file has to hash to. Its publishers give an md5 alone, which None asks for.
        expected_statistics_sha256: What the statistics have to hash to; None takes any such file.
        device: Where it runs.

    Raises:
        ValueError: For an unknown output.
        WeightsError: If a file is missing (the message names the download), of another hash, damaged or no Melception.
    """
    _check_output(output)
    file = pinned_file(path, MELCEPTION, expected_sha256)
    means, spreads = _statistics(weights_file(statistics, MELCEPTION_STATISTICS, expected_statistics_sha256))
    state = read_state(file)
    try:
        first, n_classes = len(state["Conv2d_1a_3x3.conv.weight"]), len(state["fc.weight"])
        network = Melception(n_classes, 32 // max(1, first))
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{file} is no Melception ({error}). {MELCEPTION.how_to_get}") from error
    # The side classifier that only training looks at.
    load_exactly(network, state, file, r"AuxLogits\.")
    network.band_means, network.band_spreads = means, spreads
    network.to(device)
    compute, width = (network.forward, n_classes) if output == "logits" else (network.features, network.dim)
    details: dict[str, str | int | float] = {
        "output": output,
        "heard": "first 10 s, the middle 848 of 860 frames",
        "sha256": file_hash(file),
    }
    return FeatureNetwork("melception", on_device(device, compute), width, MELCEPTION_RATE, "FID", details)


def _check_output(output: str) -> None:
    if output not in get_args(Output):
        raise ValueError(f"output is {output!r}; choose {' or '.join(get_args(Output))}.")


def _statistics(file: Path) -> tuple[torch.Tensor, torch.Tensor]:
    """Means and spreads `(80, 1)` of the bands, from a line of two numbers each."""
    try:
        lines = [[float(number) for number in line.split()] for line in file.read_text("ascii").splitlines()]
        table = torch.tensor(lines)
    except (UnicodeDecodeError, ValueError) as error:
        raise WeightsError(f"{file} holds no table of numbers: {error}. {MELCEPTION_STATISTICS.how_to_get}") from error
    if table.shape != (BANDS, 2) or not bool(torch.isfinite(table).all()) or not bool((table[:, 1] > 0).all()):
        raise WeightsError(
            f"{file} holds no mean and spread above 0 for each of {BANDS} bands. {MELCEPTION_STATISTICS.how_to_get}"
        )
    return table[:, :1], table[:, 1:]
