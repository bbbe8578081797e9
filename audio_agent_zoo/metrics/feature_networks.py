"""Loaders of the networks that metrics of the field stand on. None of them downloads anything unless told to."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import Tensor

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import resolve
from audio_agent_zoo.metrics.features import FeatureNetwork, on_device
from audio_agent_zoo.metrics.public_weights import PUBLIC_WEIGHTS, load_exactly, read_state, weights_file
from audio_agent_zoo.models.panns import SAMPLE_RATE as PANNS_RATE
from audio_agent_zoo.models.panns import Cnn14, mel_weights
from audio_agent_zoo.models.vggish import SAMPLE_RATE as VGGISH_RATE
from audio_agent_zoo.models.vggish import Vggish

if TYPE_CHECKING:
    from transformers import ClapFeatureExtractor, ClapModel, PreTrainedTokenizerBase

VGGISH, PANNS, CLAP = PUBLIC_WEIGHTS["vggish"], PUBLIC_WEIGHTS["panns_cnn14_16k"], PUBLIC_WEIGHTS["clap"]


def vggish(
    path: str | Path | None = None,
    *,
    expected_sha256: str | None = VGGISH.sha256,
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """VGGish, whose Fréchet distance is FAD: `(clips, samples)` at 16 kHz to a row of 128 per 0.96 s.

    Args:
        path: The public PyTorch port's `vggish-10086976.pth`.
        expected_sha256: What the file has to hash to; None takes any file of that layout.
        device: Where it runs.

    Raises:
        WeightsError: If the file is missing (the message names the download), of another hash, damaged or no VGGish.
    """
    file = weights_file(path, VGGISH, expected_sha256)
    state = read_state(file)
    try:
        channels = tuple(len(state[f"features.{place}.weight"]) for place in (0, 3, 6, 8, 11, 13))
        network = Vggish(channels, len(state["embeddings.0.weight"]), len(state["embeddings.4.weight"]))
    except KeyError as error:
        raise WeightsError(f"{file} is no VGGish: it has no {error}. {VGGISH.how_to_get}") from error
    # Whitening of the released AudioSet embeddings, which distances leave out.
    load_exactly(network, state, file, r"pproc\.")
    return FeatureNetwork(
        "vggish",
        on_device(device, network.to(device)),
        network.dim,
        VGGISH_RATE,
        "FAD",
        {"embedding": "raw, without last ReLU and whitening", **_hash(expected_sha256)},
    )


def panns_cnn14(
    path: str | Path | None = None,
    output: Literal["embedding", "logits"] = "embedding",
    *,
    expected_sha256: str | None = PANNS.sha256,
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """CNN14 of PANNs at 16 kHz: `(clips, samples)` to a row per clip.

    Args:
        path: The public `Cnn14_16k_mAP=0.438.pth`; that of 32 kHz is refused.
        output: 2048 numbers after the last ReLU for distances, or the 527 class logits for KL and inception score.
        expected_sha256: What the file has to hash to; None takes any file of that layout.
        device: Where it runs.

    Raises:
        ValueError: For an unknown output.
        WeightsError: If the file is missing (the message names the download), of another hash, damaged or no CNN14
            of 16 kHz.
    """
    if output not in ("embedding", "logits"):
        raise ValueError(f"output is {output!r}; choose embedding or logits.")
    file = weights_file(path, PANNS, expected_sha256)
    state = read_state(file)
    try:
        channels = tuple(len(state[f"conv_block{block}.conv1.weight"]) for block in range(1, 7))
        network = Cnn14(channels, len(state["fc1.weight"]), len(state["fc_audioset.weight"]))
        bands = state["logmel_extractor.melW"]
    except KeyError as error:
        raise WeightsError(f"{file} is no CNN14: it has no {error}. {PANNS.how_to_get}") from error
    if bands.shape != mel_weights().shape or not torch.allclose(bands, mel_weights(), atol=1e-5):
        raise WeightsError(
            f"{file} was trained on other mel bands, {tuple(bands.shape)}, than the 16 kHz network's "
            f"{tuple(mel_weights().shape)}. {PANNS.how_to_get}"
        )
    load_exactly(network, state, file, r"spectrogram_extractor\.|logmel_extractor\.")
    network.to(device)
    compute, dim = (
        (network.features, network.fc1.out_features)
        if output == "embedding"
        else (network.forward, network.fc_audioset.out_features)
    )
    details = {"output": output, **_hash(expected_sha256)}
    return FeatureNetwork("panns_cnn14_16k", on_device(device, compute), dim, PANNS_RATE, "FD-PANNs", details)


@dataclass(frozen=True)
class Clap:
    """Both sides of a CLAP.

    Attributes:
        sound: `(clips, samples)` at the network's rate (48 kHz), to embeddings of length 1.
        text: A list of captions, to the same space.
    """

    sound: FeatureNetwork
    text: FeatureNetwork


def clap(
    path_or_repo: str | Path = CLAP.source,
    *,
    revision: str | None = None,
    download: bool = False,
    device: str | torch.device = "cpu",
) -> Clap:
    """A CLAP in transformers' format, fused or not.

    Only the first 10 s of a clip are heard. transformers would hear a stretch at random, and for a fused network take
    one short clip of a batch for a long one at random; here values depend on neither seed nor batch.

    Args:
        path_or_repo: Folder, or Hub repository.
        revision: Branch, tag or commit of a repository.
        download: Get what is missing; otherwise a folder or the cache has to hold it.
        device: Where it runs.

    Raises:
        WeightsError: If it is not there (the message names the download), can't be downloaded, or can't be read.
    """
    from transformers import AutoTokenizer, ClapFeatureExtractor, ClapModel

    local = Path(path_or_repo).expanduser().is_dir()
    try:
        folder = resolve(path_or_repo, revision=revision, parts=("*",), local_files_only=not (download or local))
        loaded: Any = ClapModel.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
        model, info = loaded
        if absent := sorted(info["missing_keys"]):
            # transformers would fill them with random numbers.
            raise WeightsError(f"the weights lack {', '.join(absent[:3])}.")
        extractor = ClapFeatureExtractor.from_pretrained(folder, local_files_only=True)
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    except Exception as error:  # parsing, unpickling and shapes fail with a dozen kinds of error
        raise WeightsError(
            f"CLAP score needs the weights of {path_or_repo}, which can't be loaded: {error} Download them once "
            f"({CLAP.license}): hf download {path_or_repo}, or pass download=True."
        ) from error
    model.to(device).eval().requires_grad_(False)
    sides = _ClapSides(model, extractor, tokenizer)
    name, dim = f"clap:{path_or_repo}", int(model.config.projection_dim)
    # A snapshot of the Hub's cache lies in a folder named after its commit.
    commit = {"revision": folder.name} if folder.parent.name == "snapshots" else {}
    heard: dict[str, str | int | float] = {
        "heard": f"first {extractor.max_length_s} s",
        "truncation": sides.truncation,
        **commit,
    }
    return Clap(
        FeatureNetwork(name, sides.sound, dim, int(extractor.sampling_rate), "FAD-CLAP", heard),
        FeatureNetwork(name, sides.text, dim, details=dict(commit)),
    )


class _ClapSides:
    """What is done to sounds and captions before a CLAP."""

    def __init__(
        self, model: "ClapModel", extractor: "ClapFeatureExtractor", tokenizer: "PreTrainedTokenizerBase"
    ) -> None:
        self.model, self.extractor, self.tokenizer = model, extractor, tokenizer
        # The checkpoint's own preprocessor may say "fusion" (four spectrograms) where the network takes one.
        self.truncation = "fusion" if model.audio_model.config.enable_fusion else "rand_trunc"

    def sound(self, waveform: Tensor) -> Tensor:
        """Embeddings of `(clips, samples)`."""
        if waveform.ndim != 2 or not waveform.shape[1]:
            raise ValueError(f"waveform has shape {tuple(waveform.shape)}; give mono clips (clips, samples).")
        heard = waveform[:, : self.extractor.nb_max_samples].detach().cpu().double().numpy()
        inputs: Any = self.extractor(
            list(heard), truncation=self.truncation, sampling_rate=self.extractor.sampling_rate, return_tensors="pt"
        )
        device = self.model.device
        made = self.model.get_audio_features(
            input_features=inputs["input_features"].to(device, torch.float32),
            is_longer=torch.zeros(len(heard), 1, dtype=torch.bool, device=device),
        )
        return torch.as_tensor(made.pooler_output)

    def text(self, captions: Sequence[str]) -> Tensor:
        """Embeddings of captions."""
        if isinstance(captions, str) or not all(isinstance(caption, str) for caption in captions):
            raise ValueError(f"captions is a {type(captions).__name__}; give a list of strings.")
        tokens = self.tokenizer(list(captions), padding=True, truncation=True, return_tensors="pt")
        made = self.model.get_text_features(**{key: tokens[key].to(self.model.device) for key in tokens})
        return torch.as_tensor(made.pooler_output)


def _hash(expected_sha256: str | None) -> dict[str, str | int | float]:
    return {"sha256": expected_sha256 or "not checked"}
