"""The networks of the video half, found, loaded and checked against one another."""

import logging
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers import Gemma2ForCausalLM
from transformers.utils import logging as transformers_logging

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.hub import (
    FRAME_ENCODER,
    LANGUAGE_MODEL,
    SEMANTIC_QUANTIZER,
    SEMANTIC_TOKEN_LM,
    TEMPORAL_CONNECTOR,
    TEXT_TO_AUDIO,
    VIDEO_TO_AUDIO,
    VISUAL_ADAPTER,
    resolve,
)
from audio_agent_zoo.models.frame_encoder import FrameEncoder
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.models.semantic_token_lm import SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from audio_agent_zoo.published import CONFIG_NAME, Base, PublishedConfig, VideoGeneration

Network = TypeVar("Network", bound=nn.Module)

_BASE = "text_to_audio"
"""What a config calls the place of a text-to-audio base that the folder does not hold."""


@dataclass
class VideoToAudioParts:
    """One video half: from frames to what the UNet is told.

    Args:
        frame_encoder: Frames to vectors.
        connector: Vectors to embeddings of the language model.
        lm: Writes semantic tokens.
        quantizer: Tokens to centroids.
        adapter: Centroids to keys and values of the UNet.
        video: Sampling defaults.
        bases: Parts that were taken from elsewhere -> where from; saving refers to them, too.

    Raises:
        WeightsError: If the parts do not fit one another.
    """

    frame_encoder: FrameEncoder
    connector: TemporalConnector
    lm: SemanticTokenLM
    quantizer: SemanticQuantizer
    adapter: VisualAdapter
    video: VideoGeneration
    bases: dict[str, Base] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse parts of different models, before they fail in the middle of a render."""
        n_centroids, centroid_dim = self.quantizer.centroids.shape
        pairs = {
            "the connector's frame_dim and the frame encoder's": (
                self.connector.config.frame_dim,
                self.frame_encoder.dim,
            ),
            "the connector's llm_dim and the language model's": (self.connector.config.llm_dim, self.lm.llm_dim),
            "the language model's semantic tokens and the quantizer's": (self.lm.vocabulary.n_audio, n_centroids),
            "the adapter's centroid_dim and the quantizer's": (self.adapter.config.centroid_dim, centroid_dim),
        }
        if wrong := [f"{what} are {a} and {b}" for what, (a, b) in pairs.items() if a != b]:
            raise WeightsError(f"the parts of the video half do not fit: {'; '.join(wrong)}. Take all from one model.")

    @classmethod
    def load(
        cls, folder: Path, *, dtype: torch.dtype = torch.float32, hub: dict[str, Any] | None = None
    ) -> "VideoToAudioParts":
        """Load the video half of a published folder, in `dtype` on the CPU.

        Args:
            folder: Published folder.
            dtype: Precision of the language model and the frame encoder; the rest stays in float32.
            hub: `token`, `cache_dir` and `local_files_only` for parts that the folder only refers to.

        Raises:
            WeightsError: If the folder has no video half, or a part is missing, damaged or of another model.
        """
        config = _video_config(folder)
        config.check(folder, VIDEO_TO_AUDIO)
        assert config.video is not None
        video = config.video

        def own(kind: Any, part: str) -> Any:
            return _loaded(lambda: _whole(kind, _place(folder, part, config, hub)), folder, part).eval()

        quantizer: SemanticQuantizer = own(SemanticQuantizer, SEMANTIC_QUANTIZER)
        seen = _place(folder, FRAME_ENCODER, config, hub)
        return cls(
            frame_encoder=_loaded(
                lambda: FrameEncoder.from_pretrained(
                    seen,
                    pooling=video.frame_pooling,  # type: ignore[arg-type]  # checked there
                    dtype=dtype,
                ),
                folder,
                FRAME_ENCODER,
            ),
            connector=own(TemporalConnector, TEMPORAL_CONNECTOR),
            lm=_language_model(folder, config, int(quantizer.config.n_centroids), dtype, hub),
            quantizer=quantizer,
            adapter=own(VisualAdapter, VISUAL_ADAPTER),
            video=video,
            bases={part: place for part, place in config.bases.items() if not (folder / part).is_dir()},
        )

    def save(self, folder: Path, base: TextToAudioParts) -> None:
        """Write a published folder with both halves; parts that were taken from elsewhere are referred to.

        HuBERT, which only training and evaluation hear with, is no part of a pipeline and stays where it is.

        Args:
            folder: Where to; created if need be, and completed if other parts are in it.
            base: The text-to-audio base.
        """
        if _BASE not in self.bases:
            base.save(folder)
        folder.mkdir(parents=True, exist_ok=True)
        # Last written, so that a save cut off leaves no folder that looks whole.
        (folder / CONFIG_NAME).unlink(missing_ok=True)
        llm = self.bases.get(LANGUAGE_MODEL)
        writers: dict[str, Callable[[Path], None]] = {
            FRAME_ENCODER: self.frame_encoder.save_pretrained,
            TEMPORAL_CONNECTOR: self.connector.save_pretrained,
            LANGUAGE_MODEL: self.lm.save_base,
            SEMANTIC_TOKEN_LM: lambda place: self.lm.save_pretrained(place, llm.repo if llm else ""),
            SEMANTIC_QUANTIZER: self.quantizer.save_pretrained,
            VISUAL_ADAPTER: self.adapter.save_pretrained,
        }
        for part, write in writers.items():
            if part not in self.bases:
                write(folder / part)
        PublishedConfig(
            name=base.name,
            license=base.license,
            mel=base.mel.to_dict(),
            generation=base.generation,
            video=replace(self.video, frame_pooling=self.frame_encoder.pooling),
            bases=self.bases,
        ).write(folder)

    def networks(self) -> list[nn.Module]:
        """Every network."""
        return [self.frame_encoder, self.connector, self.lm, self.quantizer, self.adapter]


def load_base(folder: Path, name: str, hub: dict[str, Any] | None = None) -> TextToAudioParts:
    """The text-to-audio base of a published folder: the one in it, or the one it refers to.

    Args:
        folder: Published folder.
        name: What the weights are called, where they don't say so themselves.
        hub: `token`, `cache_dir` and `local_files_only` for a base that the folder only refers to.

    Raises:
        WeightsError: If a part is missing, damaged, incomplete or of a later format.
    """
    config = PublishedConfig.read(folder)
    base = config.bases.get(_BASE) if config else None
    if config is None or base is None or (folder / "unet").is_dir():
        return TextToAudioParts.load(folder, name)
    found = resolve(base.repo, revision=base.revision or None, parts=TEXT_TO_AUDIO, **(hub or {}))
    # Sampled as it likes best, under the name and terms of what was made of it.
    return replace(TextToAudioParts.load(found, base.repo), name=config.name, license=config.license)


def load_part(kind: Any, part: str, folder: Path, *, hub: dict[str, Any] | None = None) -> Any:
    """One part of the video half that is a model of diffusers: connector, quantizer or visual adapter.

    Args:
        kind: Its class.
        part: Its name in the folder.
        folder: Published folder.
        hub: `token`, `cache_dir` and `local_files_only` for a part that the folder only refers to.

    Raises:
        WeightsError: If the folder has no video half, or the part is missing or damaged.
    """
    config = _video_config(folder)
    config.check(folder, (part,))
    return _loaded(lambda: _whole(kind, _place(folder, part, config, hub)), folder, part).eval()


def load_language_model(
    folder: Path, *, dtype: torch.dtype = torch.float32, hub: dict[str, Any] | None = None
) -> SemanticTokenLM:
    """The adapted language model of a published folder, without the other parts.

    Args:
        folder: Published folder.
        dtype: Precision of the base.
        hub: `token`, `cache_dir` and `local_files_only` for a base that the folder only refers to.

    Raises:
        WeightsError: If the folder has no video half, or a part is missing, damaged or of another model.
    """
    config = _video_config(folder)
    config.check(folder, (LANGUAGE_MODEL, SEMANTIC_TOKEN_LM))
    quantizer: SemanticQuantizer = load_part(SemanticQuantizer, SEMANTIC_QUANTIZER, folder, hub=hub)
    return _language_model(folder, config, int(quantizer.config.n_centroids), dtype, hub)


def _video_config(folder: Path) -> PublishedConfig:
    config = PublishedConfig.read(folder)
    if config is None or config.video is None:
        raise WeightsError(
            f"{folder} has no video half ({CONFIG_NAME} says nothing of one); train one with "
            "recipes/custom/, or load 'foley-mini'."
        )
    return config


def _language_model(
    folder: Path, config: PublishedConfig, n_audio: int, dtype: torch.dtype, hub: dict[str, Any] | None
) -> SemanticTokenLM:
    place, adapted = _place(folder, LANGUAGE_MODEL, config, hub), _place(folder, SEMANTIC_TOKEN_LM, config, hub)
    base: Gemma2ForCausalLM = _loaded(lambda: _whole(Gemma2ForCausalLM, place, dtype=dtype), folder, LANGUAGE_MODEL)
    return _loaded(lambda: SemanticTokenLM.from_pretrained(adapted, base, n_audio), folder, SEMANTIC_TOKEN_LM)


def _place(folder: Path, part: str, config: PublishedConfig, hub: dict[str, Any] | None) -> Path:
    """Where a part lies."""
    if (folder / part).is_dir():
        return folder / part
    base = config.bases.get(part)
    if base is None:
        raise WeightsError(f"{folder} has no {part}, and {CONFIG_NAME} names none elsewhere; download it again.")
    found = resolve(base.repo, revision=base.revision or None, parts=("*",), **(hub or {}))
    # The base may be another published folder, or a model that is nothing but this part.
    return found / part if (found / part).is_dir() else found


def _whole(kind: Any, place: Path, **arguments: Any) -> Any:
    """Load a model of diffusers or transformers and insist that every weight is there."""
    model, report = kind.from_pretrained(place, local_files_only=True, output_loading_info=True, **arguments)
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    if problems := {key: sorted(map(str, report[key]))[:3] for key in kinds if report.get(key)}:
        raise WeightsError(f"{place} does not fit its config: {problems}. Download it again.")
    return model


def _loaded(load: Callable[[], Network], folder: Path, part: str) -> Network:
    levels = transformers_logging.get_verbosity(), diffusers_logging.get_verbosity()
    bar = transformers_logging.is_progress_bar_enabled()
    # What they say about weights that are missing or too many, we say as an error.
    transformers_logging.set_verbosity(logging.CRITICAL)
    diffusers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # PEFT's calls of what transformers has renamed
            model = load()
    except WeightsError:
        raise
    except Exception as error:  # the libraries raise a dozen kinds for a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{part} of {folder} can't be loaded: {lines[0]}. The file is missing or damaged; download it again."
        ) from error
    finally:
        transformers_logging.set_verbosity(levels[0])
        diffusers_logging.set_verbosity(levels[1])
        if bar:
            transformers_logging.enable_progress_bar()
    for name, values in [*model.named_parameters(), *model.named_buffers()]:
        if not values.is_meta and not torch.isfinite(values).all():
            raise WeightsError(f"{part} of {folder} holds values that are no numbers in {name}; download it again.")
    return model
