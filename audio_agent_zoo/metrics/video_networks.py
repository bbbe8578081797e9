"""Loaders of the networks that hear a sound against its video: Wav2CLIP beside CLIP, ImageBind, Synchformer."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import resolve
from audio_agent_zoo.metrics.features import FeatureNetwork, on_device
from audio_agent_zoo.metrics.public_weights import (
    PUBLIC_WEIGHTS,
    file_hash,
    load_exactly,
    pinned_file,
    read_state,
    weights_file,
)
from audio_agent_zoo.models.imagebind import SAMPLE_RATE as IMAGEBIND_RATE
from audio_agent_zoo.models.imagebind import ImageBind
from audio_agent_zoo.models.synchformer import Synchformer
from audio_agent_zoo.models.synchformer_segments import SAMPLE_RATE as SYNCHFORMER_RATE
from audio_agent_zoo.models.wav2clip import SAMPLE_RATE as WAV2CLIP_RATE
from audio_agent_zoo.models.wav2clip import Wav2Clip

WAV2CLIP, CLIP = PUBLIC_WEIGHTS["wav2clip"], PUBLIC_WEIGHTS["clip_vit_b32"]
IMAGEBIND, SYNCHFORMER = PUBLIC_WEIGHTS["imagebind"], PUBLIC_WEIGHTS["synchformer"]


def wav2clip(
    path: str | Path | None = None, *, expected_sha256: str | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """Wav2CLIP: `(clips, samples)` at 16 kHz to embeddings in the space of CLIP's images, see `clip_frames`.

    Args:
        path: The public `Wav2CLIP.pt`.
        expected_sha256: What the file has to hash to. None is known here: without one the file is not opened, and the
            error says the file's own.
        device: Where it runs.

    Raises:
        WeightsError: If the file is missing (the message names the download), of another hash or of none known,
            damaged or no Wav2CLIP.
    """
    file = pinned_file(path, WAV2CLIP, expected_sha256)
    state = read_state(file)
    try:
        one, two, three, four = (len(state[f"audio_encoder.layer{stage}.0.conv1.weight"]) for stage in range(1, 5))
        first, last = (len(state[f"audio_transform.sequential.{layer}.weight"]) for layer in (0, 3))
    except KeyError as error:
        raise WeightsError(f"{file} is no Wav2CLIP: it has no {error}. {WAV2CLIP.how_to_get}") from error
    network = Wav2Clip((one, two, three, four), first, last)
    # The image's projection and the loss of its training, and the window of the spectrogram.
    load_exactly(network, state, file, r"(?!audio_encoder\.|audio_transform\.)|audio_encoder\.spectrogram\.")
    network.to(device)
    details: dict[str, str | int | float] = {"normalised": "each clip by itself", "sha256": file_hash(file)}
    return FeatureNetwork("wav2clip", on_device(device, network), network.dim, WAV2CLIP_RATE, "FD", details)


def clip_frames(
    path_or_repo: str | Path = CLIP.source,
    *,
    revision: str | None = None,
    download: bool = False,
    device: str | torch.device = "cpu",
) -> FeatureNetwork:
    """CLIP's image embedding of a video, the mean over its frames: what Wav2CLIP learned to hear.

    It takes a list of clips `(frames, height, width, 3)` uint8. Wav2CLIP's training took the mean of embeddings as
    they are, not of length 1.

    Args:
        path_or_repo: Folder, or Hub repository, in transformers' format; ViT-B/32 for Wav2CLIP.
        revision: Branch, tag or commit of a repository.
        download: Get what is missing; otherwise a folder or the cache has to hold it.
        device: Where it runs.

    Raises:
        WeightsError: If it is not there (the message names the download), can't be downloaded, or can't be read.
    """
    from audio_agent_zoo.models.frame_encoder import FrameEncoder

    local = Path(path_or_repo).expanduser().is_dir()
    try:
        folder = resolve(path_or_repo, revision=revision, parts=("*",), local_files_only=not (download or local))
        encoder = FrameEncoder.from_pretrained(folder, pooling="image_embeds").to(device)
    except Exception as error:  # parsing, unpickling and shapes fail with a dozen kinds of error
        raise WeightsError(
            f"{CLIP.used_for} needs the weights of {path_or_repo}, which can't be loaded: {error} Download them once "
            f"({CLIP.license}): hf download {path_or_repo}, or pass download=True."
        ) from error

    def mean_embedding(clips: Any) -> Tensor:
        if not len(clips):
            raise ValueError("there are no clips; give at least one (frames, height, width, 3) uint8.")
        return torch.stack([encoder.encode(clip).mean(dim=0) for clip in clips])

    commit: dict[str, str | int | float] = {"revision": folder.name} if folder.parent.name == "snapshots" else {}
    return FeatureNetwork(
        f"clip:{path_or_repo}", mean_embedding, encoder.dim, details={"frames": "mean of embeddings", **commit}
    )


@dataclass(frozen=True)
class ImageBindSides:
    """Both sides of an ImageBind.

    Attributes:
        sound: `(clips, samples)` at 16 kHz, to embeddings.
        video: A list of clips `(frames, height, width, 3)` uint8, to the same space.
    """

    sound: FeatureNetwork
    video: FeatureNetwork


def imagebind(
    path: str | Path | None = None,
    *,
    expected_sha256: str | None = IMAGEBIND.sha256,
    device: str | torch.device = "cpu",
) -> ImageBindSides:
    """ImageBind, in whose space the IB score is: its eyes and its ears.

    MMAudio's benchmark gives it a frame every 2 s, of which each two neighbours are seen at once; the more frames, the
    longer it takes, and the other the value. Of a sound, 2 s of its beginning, middle and end are heard.

    Args:
        path: The public `imagebind_huge.pth` (4.8 GB, of which over half is used).
        expected_sha256: What the file has to hash to; None takes any file of that layout.
        device: Where it runs.

    Raises:
        WeightsError: If the file is missing (the message names the download), of another hash, damaged or no ImageBind.
    """
    file = weights_file(path, IMAGEBIND, expected_sha256)
    state = read_state(file)
    try:
        dim, audio_dim = state["modality_heads.audio.2.weight"].shape
        vision_dim = state["modality_heads.vision.2.weight"].shape[1]
    except (KeyError, ValueError) as error:
        raise WeightsError(f"{file} is no ImageBind ({error}). {IMAGEBIND.how_to_get}") from error
    vision_depth, audio_depth = (
        len({key.split(".")[3] for key in state if key.startswith(f"modality_trunks.{sense}.blocks.")})
        for sense in ("vision", "audio")
    )
    network = ImageBind(dim, vision_dim, vision_depth, audio_dim, audio_depth)
    # The senses that a video lacks, and the scales that a cosine does not see.
    load_exactly(network, state, file, r"modality_\w+\.(text|depth|thermal|imu)\.|modality_postprocessors\.")
    network.to(device)

    def see(clips: Sequence[Any]) -> Tensor:
        if not len(clips):
            raise ValueError("there are no clips; give at least one (frames, height, width, 3) uint8.")
        return torch.stack([network.see(torch.as_tensor(clip).to(device)) for clip in clips])

    digest = file_hash(file)
    heard: dict[str, str | int | float] = {"heard": "2 s of beginning, middle and end", "sha256": digest}
    seen: dict[str, str | int | float] = {"seen": "neighbouring frames, three crops", "sha256": digest}
    return ImageBindSides(
        FeatureNetwork("imagebind", on_device(device, network.hear), dim, IMAGEBIND_RATE, "FD", heard),
        FeatureNetwork("imagebind", see, dim, details=seen),
    )


def synchformer(
    path: str | Path | None = None, *, expected_sha256: str | None = None, device: str | torch.device = "cpu"
) -> FeatureNetwork:
    """Synchformer, whose offsets DeSync averages: pairs of sound and video to two rows of logits each.

    It takes a list of pairs: a waveform `(samples,)` at 16 kHz and the frames `(frames, height, width, 3)` uint8 of
    its video at 25 per second, both of at least 4.8 s. The rows are of the first and of the last 4.8 s that both
    have, in whole segments of 0.64 s every 0.32 s.

    Args:
        path: MMAudio's `synchformer_state_dict.pth`.
        expected_sha256: What the file has to hash to. Its publishers give an md5 alone, which None asks for.
        device: Where it runs.

    Raises:
        WeightsError: If the file is missing (the message names the download), of another hash, damaged or no
            Synchformer.
    """
    file = pinned_file(path, SYNCHFORMER, expected_sha256)
    state = read_state(file)
    try:
        dim, n_offsets = len(state["vproj.weight"]), len(state["transformer.off_head.weight"])
    except KeyError as error:
        raise WeightsError(f"{file} is no Synchformer: it has no {error}. {SYNCHFORMER.how_to_get}") from error
    depth, judge_depth = (
        len({key.split(".")[place] for key in state if key.startswith(prefix)})
        for prefix, place in (("vfeat_extractor.blocks.", 2), ("transformer.blocks.", 2))
    )
    network = Synchformer(dim, depth, max(1, dim // 64), judge_depth, 8, n_offsets)
    # The patch embedding for images, which stands beside that for videos.
    load_exactly(network, state, file, r"vfeat_extractor\.patch_embed\.")
    network.to(device)

    def rows(pairs: Sequence[tuple[Any, Any]]) -> Tensor:
        if not len(pairs):
            raise ValueError("there are no pairs; give at least one (waveform, frames).")
        return torch.cat([network.rows(*(torch.as_tensor(half) for half in pair)) for pair in pairs])

    details: dict[str, str | int | float] = {"heard": "first and last 4.8 s", "sha256": file_hash(file)}
    return FeatureNetwork("synchformer", rows, n_offsets, SYNCHFORMER_RATE, "FD", details)
