"""foley-mini's own judges as feature networks, so that every kind of figure can be had offline.

They learned from real procedural clips alone. Their figures tell systems of the procedural Foley world apart, and say
nothing about recordings.
"""

from pathlib import Path
from typing import Literal

import torch

from audio_agent_zoo.hub import AUDIO_TEXT, resolve
from audio_agent_zoo.metrics.feature_networks import Clap
from audio_agent_zoo.metrics.features import FeatureNetwork, on_device
from audio_agent_zoo.models.audio_text import AudioTextModel
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.published import file_sha256, weight_files
from audio_agent_zoo.rates import SAMPLE_RATE


def mini_classifier(
    weights: str | Path = "foley-mini",
    output: Literal["features", "logits"] = "features",
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """The classifier of Foley sounds: its embedding for distances, or its logits for divergences.

    Args:
        weights: Published folder or name.
        output: What of it.
        device: Where it runs.

    Raises:
        WeightsError: If the folder lacks a classifier.
    """
    folder = resolve(weights, parts=("classifier",))
    model = FoleyClassifier.from_pretrained(folder, subfolder="classifier").to(device).eval().requires_grad_(False)
    dim = int(model.config.embedding_dim) if output == "features" else len(model.class_names)
    compute = on_device(device, model.features if output == "features" else model)
    details: dict[str, str | int | float] = {"output": output, "sha256": _identity(folder / "classifier")}
    return FeatureNetwork("foley-mini/classifier", compute, dim, SAMPLE_RATE, "mini", details)


def mini_audio_text(weights: str | Path = "foley-mini", device: str | torch.device = "cpu") -> Clap:
    """Both sides of the audio-text judge.

    Args:
        weights: Published folder or name.
        device: Where it runs.

    Raises:
        WeightsError: If the folder lacks one.
    """
    folder = resolve(weights, parts=(AUDIO_TEXT,)) / AUDIO_TEXT
    model = AudioTextModel.load(folder).to(device).requires_grad_(False)
    dim = int(model.config.dim)
    details: dict[str, str | int | float] = {"sha256": _identity(folder)}
    name = "foley-mini/audio_text"
    return Clap(
        FeatureNetwork(name, on_device(device, model.embed_sounds), dim, SAMPLE_RATE, "mini", details),
        FeatureNetwork(name, model.embed_texts, dim, details=dict(details)),
    )


def _identity(folder: Path) -> str:
    return file_sha256(weight_files(folder)[0])
