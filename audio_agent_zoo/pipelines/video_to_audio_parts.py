"""The networks of the video half, found, loaded and checked against one another."""

import logging
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import torch
from transformers import Gemma2ForCausalLM

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
from audio_agent_zoo.published import CONFIG_NAME, PublishedConfig, VideoGeneration

logger = logging.getLogger(__name__)


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

    Raises:
        WeightsError: If the parts do not fit one another.
    """

    frame_encoder: FrameEncoder
    connector: TemporalConnector
    lm: SemanticTokenLM
    quantizer: SemanticQuantizer
    adapter: VisualAdapter
    video: VideoGeneration

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
        config = PublishedConfig.read(folder)
        if config is None or config.video is None:
            raise WeightsError(
                f"{folder} has no video half ({CONFIG_NAME} says nothing of one); train one with "
                "recipes/custom/, or load 'foley-mini'."
            )
        config.check(folder, VIDEO_TO_AUDIO)
        video = config.video

        def place(part: str) -> Path:
            base = config.bases.get(part)
            if (folder / part).is_dir() or base is None:
                return folder / part
            found = resolve(base.repo, revision=base.revision or None, parts=("*",), **(hub or {}))
            # The base may be another published folder, or a model that is nothing but this part.
            return found / part if (found / part).is_dir() else found

        quantizer: SemanticQuantizer = _loaded(
            lambda: SemanticQuantizer.from_pretrained(place(SEMANTIC_QUANTIZER), local_files_only=True),
            folder,
            SEMANTIC_QUANTIZER,
        )
        base: Gemma2ForCausalLM = _loaded(
            lambda: Gemma2ForCausalLM.from_pretrained(place(LANGUAGE_MODEL), dtype=dtype, local_files_only=True),
            folder,
            LANGUAGE_MODEL,
        )
        n_audio = int(quantizer.config.n_centroids)
        return cls(
            frame_encoder=_loaded(
                lambda: FrameEncoder.from_pretrained(
                    place(FRAME_ENCODER),
                    pooling=video.frame_pooling,  # type: ignore[arg-type]  # checked there
                    dtype=dtype,
                ),
                folder,
                FRAME_ENCODER,
            ),
            connector=_loaded(
                lambda: TemporalConnector.from_pretrained(folder, subfolder=TEMPORAL_CONNECTOR, local_files_only=True),
                folder,
                TEMPORAL_CONNECTOR,
            ).eval(),
            lm=_loaded(
                lambda: SemanticTokenLM.from_pretrained(folder / SEMANTIC_TOKEN_LM, base, n_audio),
                folder,
                SEMANTIC_TOKEN_LM,
            ),
            quantizer=quantizer,
            adapter=_loaded(
                lambda: VisualAdapter.from_pretrained(folder, subfolder=VISUAL_ADAPTER, local_files_only=True),
                folder,
                VISUAL_ADAPTER,
            ).eval(),
            video=video,
        )

    def networks(self) -> list[torch.nn.Module]:
        """Every network."""
        return [self.frame_encoder, self.connector, self.lm, self.quantizer, self.adapter]


def base_folder(folder: Path, hub: dict[str, Any] | None = None) -> Path:
    """Where the text-to-audio base of a published folder lies: in it, or where it refers to."""
    config = PublishedConfig.read(folder)
    base = config.bases.get("text_to_audio") if config else None
    held = any(fnmatchcase(path.name, pattern) for path in folder.iterdir() for pattern in ("unet", "vae"))
    if held or base is None:
        return folder
    return resolve(base.repo, revision=base.revision or None, parts=TEXT_TO_AUDIO, **(hub or {}))


def _loaded(load: Any, folder: Path, part: str) -> Any:
    from transformers.utils import logging as transformers_logging

    level = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    try:
        model = load()
    except WeightsError:
        raise
    except Exception as error:  # the libraries raise a dozen kinds for a damaged file
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise WeightsError(
            f"{part} of {folder} can't be loaded: {lines[0]}. The file is missing or damaged; download it again."
        ) from error
    finally:
        transformers_logging.set_verbosity(level)
    for name, parameter in model.named_parameters():
        if not parameter.is_meta and not torch.isfinite(parameter).all():
            raise WeightsError(f"{part} of {folder} holds values that are no numbers in {name}; download it again.")
    return model
