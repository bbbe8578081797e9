"""How people would rate generated sounds, after Audiobox aesthetics: no reference is needed, and none is looked at."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import resolve
from audio_agent_zoo.metrics.features import FeatureNetwork, checked_rows, on_device
from audio_agent_zoo.metrics.public_weights import PUBLIC_WEIGHTS, file_hash, load_exactly
from audio_agent_zoo.models.audiobox_aesthetics import (
    AXES,
    SAMPLE_RATE,
    AestheticsSettings,
    AudioboxAesthetics,
    translated,
    wavlm_config,
)

AESTHETICS = PUBLIC_WEIGHTS["audiobox_aesthetics"]


class AudioboxAestheticsScore(Metric):
    """Mean rating of generated sounds on four scales from 1 to 10: enjoyment, usefulness, complexity, quality.

    Complexity is no praise: silence and a busy street differ in it, and neither is better.

    Args:
        network: What turns clips into ratings, see `audiobox_aesthetics`; None where `update` is given ratings.
        kwargs: Arguments of `torchmetrics.Metric`.

    Raises:
        ValueError: If the network does not give four ratings.

    Source: Tjandra et al., "Meta Audiobox Aesthetics" (2025).

    Examples:
        >>> metric = AudioboxAestheticsScore()
        >>> metric.update(torch.tensor([[5.0, 6.0, 2.0, 7.0], [4.0, 6.0, 3.0, 7.0]]))
        >>> {axis: float(value) for axis, value in metric.compute().items()}
        {'CE': 4.5, 'CU': 6.0, 'PC': 2.5, 'PQ': 7.0}
    """

    is_differentiable = False
    higher_is_better = None
    full_state_update = False

    clips: Tensor
    total: Tensor

    def __init__(self, network: FeatureNetwork | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if network and network.dim != len(AXES):
            raise ValueError(f"{network.name} gives {network.dim} numbers; take a network that gives {len(AXES)}.")
        self.network = network
        self.add_state("clips", torch.tensor(0), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros(len(AXES), dtype=torch.float64), dist_reduce_fx="sum")

    @property
    def protocol(self) -> dict[str, str | int | float]:
        """What decides over the values, for `results.json`."""
        return {"metric": "audiobox_aesthetics", **(self.network.protocol() if self.network else {})}

    def update(self, generated: Tensor) -> None:
        """Add some clips.

        Args:
            generated: `(clips, 4)` ratings; with a network, clips as it takes them.

        Raises:
            ValueError: If the shape differs or a rating is not finite.
        """
        rows = checked_rows(self.network(generated) if self.network else generated, len(AXES), "ratings")
        self.clips += len(rows)
        self.total += rows.double().sum(dim=0).to(self.total.device)

    def compute(self) -> dict[str, Tensor]:
        """The mean on each scale, by the names of `AXES`, float64 scalars.

        Raises:
            ValueError: If no clip was added.
        """
        if int(self.clips) == 0:
            raise ValueError("there are no clips to rate; call update first.")
        return dict(zip(AXES, self.total / self.clips, strict=True))


def audiobox_aesthetics(
    path_or_repo: str | Path = AESTHETICS.source,
    *,
    revision: str | None = None,
    download: bool = False,
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """Audiobox aesthetics: `(clips, samples)` at 16 kHz to a row of four ratings per clip.

    Args:
        path_or_repo: Folder with the published `config.json` and `model.safetensors`, or Hub repository.
        revision: Branch, tag or commit of a repository.
        download: Get what is missing; otherwise a folder or the cache has to hold it.
        device: Where it runs.

    Raises:
        WeightsError: If it is not there (the message names the download), can't be downloaded, is damaged or no such
            network.
    """
    from safetensors.torch import load_file
    from transformers import WavLMModel

    local = Path(path_or_repo).expanduser().is_dir()
    file = None
    try:
        folder = resolve(path_or_repo, revision=revision, parts=("*",), local_files_only=not (download or local))
        file = folder / "model.safetensors"
        settings = _settings(json.loads((folder / "config.json").read_text("utf-8")))
        state = load_file(file)
        network = AudioboxAesthetics(WavLMModel(wavlm_config(state)), settings)
    except Exception as error:  # parsing and shapes fail with a dozen kinds of error
        raise WeightsError(
            f"{AESTHETICS.used_for} needs the weights of {path_or_repo}, which can't be loaded: {error} Download them "
            f"once ({AESTHETICS.license}): hf download {path_or_repo}, or pass download=True."
        ) from error
    load_exactly(network, translated(state), file)
    network.to(device)
    commit = {"revision": folder.name} if folder.parent.name == "snapshots" else {}
    details: dict[str, str | int | float] = {"axes": " ".join(AXES), "sha256": file_hash(file), **commit}
    return FeatureNetwork("audiobox_aesthetics", on_device(device, network), len(AXES), SAMPLE_RATE, "FD", details)


def _settings(config: dict[str, Any]) -> AestheticsSettings:
    """The published settings, as far as they decide over the ratings."""
    known = (config.get("proj_act_fn", "gelu"), config.get("output_dim", 1), config.get("use_weighted_layer_sum", True))
    if known != ("gelu", 1, True):
        raise WeightsError(f"config.json asks for {known}; only GELU, one number and a sum over layers are known.")
    targets = config["target_transform"]
    return AestheticsSettings(
        layers=int(config.get("proj_num_layer", 1)),
        layer_norm=bool(config.get("proj_ln", False)),
        dropout=bool(config.get("proj_dropout", 0)),
        normalized=bool(config.get("normalize_embed", True)),
        means=tuple(float(targets[axis]["mean"]) for axis in AXES),
        spreads=tuple(float(targets[axis]["std"]) for axis in AXES),
    )
