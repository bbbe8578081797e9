"""The video half and its ablations, each asked for the sound of the same held-out videos with the same seeds."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm
from transformers import Gemma2ForCausalLM

from audio_agent_zoo.data.sources.avsync15 import AVSync15Source
from audio_agent_zoo.data.sources.examples import FoleyExample, FoleySource
from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos
from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.evaluation.folders import Audio
from audio_agent_zoo.evaluation.sounds import Advance, SoundStore, settings_key, weights_key
from audio_agent_zoo.hub import (
    HUBERT,
    LANGUAGE_MODEL,
    SEMANTIC_QUANTIZER,
    SEMANTIC_TOKEN_LM,
    TEMPORAL_CONNECTOR,
    VISUAL_ADAPTER,
    resolve,
)
from audio_agent_zoo.models.hubert_tokenizer import HubertTokenizer
from audio_agent_zoo.models.semantic_token_lm import SemanticTokenLM
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.video_to_audio import EncodedVideo, VideoToAudioPipeline
from audio_agent_zoo.pipelines.video_to_audio_parts import VideoToAudioParts
from audio_agent_zoo.published import PublishedConfig
from audio_agent_zoo.rates import SAMPLE_RATE

IMPACTS = (
    "bowling",
    "cap_gun",
    "church_bell",
    "clapping",
    "clock_ticking",
    "door_knock",
    "explosion",
    "footsteps",
    "glass_breaking",
    "hammering",
)
"""Visible classes whose sound starts with a blow."""

NOISE_LEVEL = 0.2
_DATASETS = {"synthesis": "procedural Foley world", "avsync15": "AVSync15"}


@dataclass(frozen=True)
class VideoSystemSettings:
    """What an evaluation of the video half asks for.

    Attributes:
        weights: What `VideoToAudioPipeline.from_pretrained` takes.
        variants: Name -> folder with the parts in which an ablation differs, or with a whole model; beside the recipe,
            or from where the command runs.
        source: "synthesis", or "avsync15" with the path of its folder.
        path: Folder of the clips; "" for procedural ones.
        classes: Visible classes of procedural clips.
        clips_per_class: Held-out procedural clips of each.
        clip_duration_s: Length of procedural clips in seconds.
        seed: Seed of the procedural clips, of the generation and of the intervals.
        num_inference_steps: Denoising steps; the weights' own default when None.
        guidance_scale: Guidance; the weights' own default when None.
        device: Where networks run.
        sounds: Folder of sounds that several evaluations of these clips share; "" for one inside the results.
        output: Folder of the results.
    """

    weights: str = "foley-mini"
    variants: Mapping[str, str] = field(default_factory=dict)
    source: str = "synthesis"
    path: str = ""
    classes: tuple[str, ...] = IMPACTS
    clips_per_class: int = 8
    clip_duration_s: float = 2.56
    seed: int = 23
    num_inference_steps: int | None = None
    guidance_scale: float | None = None
    device: str = "cpu"
    sounds: str = ""
    output: str = "runs/video_systems"

    def clips(self) -> FoleySource:
        """The held-out clips.

        Raises:
            ValueError: For an unknown source.
            MediaError: If their folder can't be read.
        """
        if self.source == "synthesis":
            n = self.clips_per_class * len(self.classes)
            first = self.seed * 10_000
            return FoleyWorldVideos("test", n, self.clip_duration_s, first_seed=first, classes=tuple(self.classes))
        if self.source == "avsync15":
            return AVSync15Source(self.path, "test")
        raise ValueError(f"source is {self.source!r}; choose synthesis or avsync15.")

    @property
    def dataset(self) -> dict[str, str]:
        """Name and split for the card."""
        return {"name": _DATASETS[self.source], "split": "test"}


class VideoSystems:
    """Files of the sounds that every system makes for the same clips; made once, whoever asks for them.

    Args:
        settings: What is asked for.
        output: Folder of the results.
        recipe: Recipe that holds the settings.

    Attributes:
        left_out: Variants that were named and are not there.
    """

    def __init__(self, settings: VideoSystemSettings, output: Path, recipe: Path) -> None:
        self.settings, self.recipe = settings, recipe
        self.pipeline = VideoToAudioPipeline.from_pretrained(settings.weights, device=settings.device)
        self.store = SoundStore(Path(settings.sounds) if settings.sounds else output / "sounds")
        self.source = settings.clips()
        size = self.pipeline.parts.frame_encoder.image_size
        self.examples = [self.source.example(i, size) for i in range(len(self.source))]
        self.identity = {"clips": dict(self.source.identity()), "image_size": size, "seed": settings.seed}
        self.left_out: list[str] = []

    def frames(self, index: int) -> NDArray[np.uint8]:
        """The video of a clip `(frames, height, width, 3)`."""
        size = self.pipeline.parts.frame_encoder.image_size
        return np.concatenate(list(self.source.example(index, size).frames))

    @cached_property
    def videos(self) -> list[EncodedVideo]:
        """Every clip's video, encoded, as long as its sound."""
        return [
            replace(self.pipeline.encode_video(self.frames(i)), duration_s=len(example.audio) / SAMPLE_RATE)
            for i, example in enumerate(tqdm(self.examples, desc="videos"))
        ]

    @cached_property
    def captions(self) -> list[str]:
        """One caption per clip."""
        return [caption_of(example) for example in self.examples]

    @cached_property
    def seeds(self) -> list[int]:
        """One seed per clip."""
        return [self.settings.seed + i for i in range(len(self.examples))]

    @property
    def names(self) -> list[str]:
        """One name per clip."""
        return [example.id for example in self.examples]

    def given(self, name: str, audios: Sequence[Audio]) -> list[Path]:
        """Files of sounds that nobody has to make, such as the truth or noise.

        Args:
            name: What they are.
            audios: One per clip; the same name always stands for the same sounds.
        """
        self.store.sounds(name, self.identity, len(audios), lambda batch, _: [audios[i] for i in batch])
        return self.store.files(name, self.identity, len(audios))

    def truth(self) -> list[Path]:
        """The true sounds."""
        return self.given("truth", [example.audio for example in self.examples])

    @cached_property
    def neighbours(self) -> list[int]:
        """For each clip the next one of its class."""
        places: dict[str, list[int]] = {}
        for i, example in enumerate(self.examples):
            places.setdefault(example.class_name, []).append(i)
        after = {i: rows[(k + 1) % len(rows)] for rows in places.values() for k, i in enumerate(rows)}
        return [after[i] for i in range(len(self.examples))]

    def another_clip(self) -> list[Path]:
        """The true sound of the next clip of the same class: right kind, wrong time."""
        return self.given("another_clip", [self.examples[i].audio for i in self.neighbours])

    def noise(self) -> list[Path]:
        """White noise."""
        rng = np.random.default_rng(self.settings.seed)
        lengths = [len(example.audio) for example in self.examples]
        return self.given("noise", [(NOISE_LEVEL * rng.standard_normal(n)).astype(np.float32) for n in lengths])

    def full(self, *, visual_scale: float | None = None, steps: int | None = None, name: str = "full") -> list[Path]:
        """The whole system, or the same with another weight of the visual attention or other steps."""
        parts = self.pipeline.parts
        return self._rendered(name, parts, self._tokens("full", parts), visual_scale, steps)

    @cached_property
    def true_tokens(self) -> list[Tensor]:
        """Semantic tokens of the true sounds."""
        folder = resolve(self.settings.weights)
        tokenizer = HubertTokenizer.from_pretrained(folder / HUBERT, folder / SEMANTIC_QUANTIZER)
        return tokenizer.encode([torch.from_numpy(example.audio) for example in self.examples])

    def with_true_tokens(self) -> list[Path]:
        """What adapter and base make of the tokens of the true sound: the ceiling of any language model."""
        return self._rendered("true_tokens", self.pipeline.parts, self.true_tokens, None, None)

    def text_only(self) -> list[Path]:
        """The text-to-audio base alone, which hears the captions and sees nothing."""
        return self.full(visual_scale=0.0, name="text_only")

    def variant(self, name: str) -> list[Path] | None:
        """An ablation of the settings; None, and a word, if its folder is not there."""
        folder = self._variant_folder(name)
        if not folder.is_dir():
            self.left_out.append(name)
            print(f"{name} is left out: {folder} does not exist; the recipe's header names the training.")
            return None
        parts = self.parts_of(name)
        return self._rendered(name, parts, self._tokens(name, parts), None, None)

    def _variant_folder(self, name: str) -> Path:
        given = self.settings.variants[name]
        beside = self.recipe.parent / given
        return beside if beside.is_dir() else Path(given)

    def parts_of(self, name: str) -> VideoToAudioParts:
        """The parts of an ablation: its own where it has them, else those of the system.

        Raises:
            WeightsError: If the folder is a whole model and can't be loaded, or a base is missing.
        """
        folder, own = self._variant_folder(name), self.pipeline.parts
        config = PublishedConfig.read(folder)
        if config is not None and config.video is not None and (folder / VISUAL_ADAPTER).is_dir():
            return VideoToAudioParts.load(folder)
        changed: dict[str, Any] = {}
        if (folder / SEMANTIC_TOKEN_LM).is_dir():
            base = Gemma2ForCausalLM.from_pretrained(self._language_model(folder), dtype=torch.float32)
            changed["lm"] = SemanticTokenLM.from_pretrained(folder / SEMANTIC_TOKEN_LM, base, own.lm.vocabulary.n_audio)
        if (folder / TEMPORAL_CONNECTOR).is_dir():
            changed["connector"] = TemporalConnector.from_pretrained(folder, subfolder=TEMPORAL_CONNECTOR).eval()
        if (folder / VISUAL_ADAPTER).is_dir():
            changed["adapter"] = VisualAdapter.from_pretrained(folder, subfolder=VISUAL_ADAPTER).eval()
        return replace(own, **changed)

    def _language_model(self, folder: Path) -> Path:
        """What an ablation's LoRA goes onto: its own base, the system's, or the one that the system refers to."""
        main = resolve(self.settings.weights)
        for place in (folder, main):
            if (place / LANGUAGE_MODEL).is_dir():
                return place / LANGUAGE_MODEL
        config = PublishedConfig.read(main)
        if config is None or LANGUAGE_MODEL not in config.bases:
            raise WeightsError(f"{main} has no {LANGUAGE_MODEL} for the LoRA of {folder}; download it again.")
        base = config.bases[LANGUAGE_MODEL]
        return resolve(base.repo, revision=base.revision or None, parts=("*",))

    def _tokens(self, name: str, parts: VideoToAudioParts) -> list[Tensor]:
        """Semantic tokens that a system writes, or wrote in an earlier run."""
        asked = {"weights": self.key(parts), **self.identity}
        pipeline = VideoToAudioPipeline(self.pipeline.base, parts)
        return self.store.tokens(
            f"tokens_{name}", asked, lambda: pipeline.write_tokens(self.videos, self.captions, self.seeds)
        )

    def key(self, parts: VideoToAudioParts) -> str:
        """What decides over the sounds of some parts, as a hash."""
        return weights_key(self.pipeline.base.parts, parts.networks(), asdict(parts.video))

    def _rendered(
        self, name: str, parts: VideoToAudioParts, tokens: Sequence[Tensor], scale: float | None, steps: int | None
    ) -> list[Path]:
        """Files of what adapter and base make of some tokens."""
        s = self.settings
        # The base carries one adapter at a time: the pipeline that was made last.
        pipeline = VideoToAudioPipeline(self.pipeline.base, parts)
        lengths = [len(example.audio) / SAMPLE_RATE for example in self.examples]
        sampling: dict[str, Any] = {
            "visual_scale": parts.video.visual_scale if scale is None else scale,
            "num_inference_steps": steps or s.num_inference_steps,
            "guidance_scale": s.guidance_scale,
        }

        def make(batch: range, advance: Advance) -> list[Audio]:
            made = pipeline.render(
                [tokens[i] for i in batch],
                [self.captions[i] for i in batch],
                [lengths[i] for i in batch],
                seeds=[self.seeds[i] for i in batch],
                callback=advance,
                **sampling,
            )
            return list(made.audios)

        written = settings_key({"tokens": [one.tolist() for one in tokens]})
        asked = {"weights": self.key(parts), "tokens": written, **sampling, **self.identity}
        self.store.sounds(name, asked, len(self.examples), make)
        return self.store.files(name, asked, len(self.examples))


def caption_of(example: FoleyExample) -> str:
    """What is heard in a clip: its first caption, else the words of its class."""
    return example.captions[0] if example.captions else example.class_name.replace("_", " ")
