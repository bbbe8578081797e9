"""The networks that sounds are compared by, as the command line names them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

from audio_agent_zoo.hub import resolve
from audio_agent_zoo.metrics.classifier_networks import melception, passt
from audio_agent_zoo.metrics.feature_networks import CLAP, Clap, clap, panns_cnn14, vggish
from audio_agent_zoo.metrics.features import FeatureNetwork, on_device
from audio_agent_zoo.metrics.mini_networks import mini_audio_text
from audio_agent_zoo.metrics.public_weights import MELCEPTION_STATISTICS, file_hash
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.rates import SAMPLE_RATE, n_samples

_SHORTEST_S = 0.25


@dataclass(frozen=True)
class Judge:
    """A network that hears sounds.

    Attributes:
        name: How figures are called after it.
        embedding: Clips to feature vectors, for distances and similarity.
        logits: Clips to class logits, for KL; None where it names no classes.
    """

    name: str
    embedding: FeatureNetwork
    logits: FeatureNetwork | None = None


def _mini(weights: Path | None, device: str) -> Judge:
    folder = resolve(weights or "foley-mini")
    model = FoleyClassifier.from_pretrained(folder, subfolder="classifier").eval().to(device)
    file = next((folder / "classifier").glob("*.safetensors"))
    details: dict[str, str | int | float] = {
        "weights": f"{folder.name if weights else 'foley-mini'}/classifier",
        "sha256": file_hash(file),
    }

    def padded(compute: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
        shortest = n_samples(_SHORTEST_S)
        return on_device(device, lambda waves: compute(F.pad(waves, (0, max(0, shortest - waves.shape[1])))))

    dim, n_classes = int(model.config.embedding_dim), len(model.class_names)
    return Judge(
        "mini",
        FeatureNetwork("mini", padded(model.features), dim, SAMPLE_RATE, "FD-mini", {**details, "output": "embedding"}),
        FeatureNetwork("mini", padded(model), n_classes, SAMPLE_RATE, "FD-mini", {**details, "output": "logits"}),
    )


def _vggish(weights: Path | None, device: str) -> Judge:
    return Judge("vggish", vggish(weights, device=device))


def _panns(weights: Path | None, device: str) -> Judge:
    return Judge(
        "panns", panns_cnn14(weights, "embedding", device=device), panns_cnn14(weights, "logits", device=device)
    )


def _clap(weights: Path | None, device: str) -> Judge:
    sound = clap(weights or CLAP.source, device=device).sound
    if weights is not None:
        # A folder has no commit to tell; its files do. Where it lies is nobody else's business.
        hashes = {f"sha256 of {path.name}": file_hash(path) for path in sorted(weights.glob("*.safetensors"))}
        sound = replace(sound, name="clap", details={**sound.details, "weights": weights.resolve().name, **hashes})
    return Judge("clap", sound)


def _passt(weights: Path | None, device: str) -> Judge:
    return Judge("passt", passt(weights, "embedding", device=device), passt(weights, "logits", device=device))


def _melception(weights: Path | None, device: str) -> Judge:
    # The statistics that its inputs are normalised by are published as a file of their own.
    statistics = None if weights is None else weights.with_name(MELCEPTION_STATISTICS.filename)
    return Judge(
        "melception",
        melception(weights, statistics, "embedding", device=device),
        melception(weights, statistics, "logits", device=device),
    )


_LOADERS: dict[str, Callable[[Path | None, str], Judge]] = {
    "mini": _mini,
    "vggish": _vggish,
    "panns": _panns,
    "clap": _clap,
    "passt": _passt,
    "melception": _melception,
}

JUDGES = tuple(_LOADERS)
"""Every judge there is: the small one that comes with the package, and the public ones."""


def load_judge(name: str, weights: str | Path = "", device: str = "cpu") -> Judge:
    """Load a judge; nothing is downloaded.

    Args:
        name: One of `JUDGES`.
        weights: Its published file, of melception with its statistics beside it, or folder for clap; of mini a
            published folder, the bundled one when empty.
        device: Where it runs.

    Raises:
        ValueError: For an unknown name.
        WeightsError: If the weights are not there; the message names the download.
    """
    if name not in _LOADERS:
        raise ValueError(f"network is {name!r}; choose among {', '.join(JUDGES)}.")
    return _LOADERS[name](Path(weights) if weights else None, device)


def load_caption_judge(name: str) -> Clap:
    """The network that tells whether a sound is what a caption says.

    Args:
        name: "mini" for foley-mini's own, or a folder or repository of a CLAP.

    Raises:
        WeightsError: If its weights are not there.
    """
    return mini_audio_text() if name == "mini" else clap(name)


@torch.inference_mode()
def rows_of(network: FeatureNetwork, audio: Tensor) -> Tensor:
    """What a network makes of one clip `(samples,)` at its own rate: `(rows, dim)` float32 on the CPU."""
    return network(audio[None]).float().cpu()
