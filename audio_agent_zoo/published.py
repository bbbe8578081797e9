"""The `config.json` of a published folder: what it holds, where it comes from, how it likes to be sampled."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from fnmatch import fnmatchcase
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import Any

from audio_agent_zoo import __version__
from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.media import atomic_path

FORMAT_VERSION = 1
CONFIG_NAME = "config.json"
WEIGHT_SUFFIXES = (".safetensors", ".bin", ".pt")


@dataclass(frozen=True)
class Generation:
    """How a set of weights likes to be sampled.

    Attributes:
        num_inference_steps: Denoising steps.
        guidance_scale: Classifier-free guidance.
        native_columns: Widest mel image the model was trained on; longer sounds are made in windows.
        min_columns: Narrowest mel image it makes well; shorter sounds are cut from it.
        mel_iterations: Times the vocoder's sound is fitted to the mel it was made from; 0 trusts the vocoder.
        negative_prompt: What the sound effects of a session steer away from, unless a step says it itself.
    """

    num_inference_steps: int = 50
    guidance_scale: float = 7.5
    native_columns: int = 1024
    min_columns: int = 1024
    mel_iterations: int = 0
    negative_prompt: str = ""


@dataclass(frozen=True)
class VideoGeneration:
    """How a set of weights turns video into sound.

    Attributes:
        visual_scale: Weight of the visual attention (the paper's lambda).
        frame_pooling: Which vector of the frame encoder stands for a frame.
        window_tokens: Semantic tokens the language model writes at once; longer videos go on from the last of them.
        context_tokens: Tokens of the window before that the next one starts from.
        fixed_window: Whether shorter videos are held at their last frame to fill a window.
        temperature: How freely tokens are drawn; 0 takes the likeliest.
        top_k: Tokens drawn among; 0 for all.
        change_bias: How much repeating a token is held against it.
    """

    visual_scale: float = 0.5
    frame_pooling: str = "pooler_output"
    window_tokens: int = 500
    context_tokens: int = 100
    fixed_window: bool = False
    temperature: float = 0.0
    top_k: int = 0
    change_bias: float = 0.0


@dataclass(frozen=True)
class Base:
    """A frozen part that a published folder refers to and does not hold.

    Attributes:
        repo: Hub repository or folder.
        revision: Commit it was trained on; "" for the main branch.
        license: Licence or terms it comes under.
    """

    repo: str
    revision: str = ""
    license: str = ""


@dataclass(frozen=True)
class Part:
    """One subfolder of a published folder.

    Attributes:
        subfolder: Its name.
        sha256: Weight file in it -> hex digest.
    """

    subfolder: str
    sha256: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class PublishedConfig:
    """The `config.json` of a published folder.

    Attributes:
        name: What the weights are called.
        license: SPDX-like licence of the weights.
        mel: Front-end constants (`MelConfig` fields).
        generation: Sampling defaults.
        video: How video becomes sound; None for weights without a video half.
        bases: Part -> where it comes from, where the folder does not hold it.
        parts: Part -> where it is and what its weights hash to.
        library_version: Version that wrote the folder.
        format_version: Layout of the folder.
    """

    name: str
    license: str
    mel: dict[str, Any]
    generation: Generation = Generation()
    video: VideoGeneration | None = None
    bases: dict[str, Base] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)
    library_version: str = __version__
    format_version: int = FORMAT_VERSION

    @classmethod
    def read(cls, folder: Path) -> "PublishedConfig | None":
        """Read a folder's config; None if the folder is of a public layout, which has none of ours.

        Raises:
            WeightsError: If the config is damaged or of a later format.
        """
        path = folder / CONFIG_NAME
        if not path.exists():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            version = int(values["format_version"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise WeightsError(
                f"{path} is no config of a published folder: {error!r}. Download the folder again."
            ) from error
        if version > FORMAT_VERSION:
            raise WeightsError(
                f"{path} has format {version}, this version of the package reads up to {FORMAT_VERSION}; "
                "upgrade with: pip install -U audio-agent-zoo"
            )
        known = {item.name for item in fields(cls)}
        if unknown := sorted(set(values) - known):
            raise WeightsError(f"{path} holds unknown keys {unknown}; known are {sorted(known)}.")
        try:
            parts = {name: Part(**part) for name, part in values.get("parts", {}).items()}
            generation = Generation(**values.get("generation", {}))
            video = VideoGeneration(**values["video"]) if values.get("video") else None
            bases = {name: Base(**base) for name, base in values.get("bases", {}).items()}
            config = cls(**{**values, "generation": generation, "video": video, "bases": bases, "parts": parts})
        except (TypeError, AttributeError) as error:
            raise WeightsError(f"{path} lacks or misspells a key: {error}.") from error
        for place in [f"{part.subfolder}/{name}" for part in parts.values() for name in part.sha256]:
            if PurePosixPath(place).is_absolute() or ".." in PurePosixPath(place).parts:
                raise WeightsError(f"{path} names {place!r}, which lies outside the folder; do not use it.")
        return config

    def write(self, folder: Path) -> None:
        """Write `config.json`, with every part and the checksums of its weights as they now are."""
        forget_places(folder)
        parts: dict[str, Part] = {}
        for path in weight_files(folder):
            subfolder, *rest = path.relative_to(folder).parts
            if rest:
                part = parts.setdefault(subfolder, Part(subfolder))
                part.sha256["/".join(rest)] = file_sha256(path)
        text = json.dumps({**asdict(self), "parts": {k: asdict(v) for k, v in parts.items()}}, indent=2)
        with atomic_path(folder / CONFIG_NAME) as partial:
            partial.write_text(text + "\n", encoding="utf-8")

    def check(self, folder: Path, parts: Sequence[str] = ("*",)) -> None:
        """Compare the weight files of some parts with their checksums.

        Args:
            folder: The published folder.
            parts: Patterns of part names.

        Raises:
            WeightsError: If a file is missing or differs.
        """
        for name, part in self.parts.items():
            if not any(fnmatchcase(name, pattern) for pattern in parts):
                continue
            for file, expected in part.sha256.items():
                path = folder / part.subfolder / file
                if not path.is_file():
                    raise WeightsError(f"{path} is missing; download {self.name} again.")
                if (found := file_sha256(path)) != expected:
                    raise WeightsError(
                        f"{path} is damaged: its sha256 is {found[:12]}..., {CONFIG_NAME} says "
                        f"{expected[:12]}.... Download {self.name} again."
                    )


def forget_places(folder: Path) -> None:
    """Remove from the parts' configs where they were loaded from: a path of this machine, nobody else's business."""
    for path in folder.glob("*/config.json"):
        values = json.loads(path.read_text(encoding="utf-8"))
        if values.pop("_name_or_path", None) is not None:
            path.write_text(json.dumps(values, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def weight_files(folder: Path) -> list[Path]:
    """Weight files below a folder, in order."""
    return sorted(path for path in folder.rglob("*") if path.suffix in WEIGHT_SUFFIXES and path.is_file())


def file_sha256(path: Path) -> str:
    """Hex sha256 of a file."""
    digest = sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
