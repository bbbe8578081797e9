"""Encode clips once with the frozen parts: frame vectors, semantic tokens and latents, in Parquet shards."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor

from audio_agent_zoo.columns import FEATURES_CONFIG, FeatureRow
from audio_agent_zoo.data.sources.examples import FoleyExample, FoleySource
from audio_agent_zoo.errors import AudioAgentError, MediaError
from audio_agent_zoo.hub import FRAME_ENCODER, HUBERT, SEMANTIC_QUANTIZER
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.models.frame_encoder import FrameEncoder, Pooling
from audio_agent_zoo.models.hubert_tokenizer import HubertTokenizer
from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image
from audio_agent_zoo.published import file_sha256, weight_files
from audio_agent_zoo.rates import FRAME_RATE, n_samples, n_semantic_tokens, n_video_frames

GRID_S = 0.32
"""Stretches are a multiple of this long, so that only few lengths occur and every one fits the UNet."""
_PEAK = 0.95
_SILENT_PEAK = 1e-4


@dataclass(frozen=True)
class PrepareSettings:
    """How clips become rows.

    Attributes:
        hub_folder: Published folder (or one in the making) with the frozen parts.
        window_s: Longest stretch; longer clips give several.
        frame_pooling: Which vector of the frame encoder stands for a frame.
        rows_per_shard: Clips per shard; a run that is cut off loses at most the shards being written.
    """

    hub_folder: str
    window_s: float = 10.24
    frame_pooling: Pooling = "pooler_output"
    rows_per_shard: int = 64


@dataclass
class PrepareReport:
    """What a run did.

    Attributes:
        n_rows: Rows in all shards.
        n_new: Clips encoded by this run.
        skipped: Clip -> why it is not among them.
    """

    n_rows: int = 0
    n_new: int = 0
    skipped: dict[str, str] = field(default_factory=dict)


class Encoders:
    """The frozen parts, loaded once per process.

    Raises:
        WeightsError: If a part is missing.
    """

    def __init__(self, settings: PrepareSettings) -> None:
        folder = Path(settings.hub_folder)
        self.settings = settings
        self.frames = FrameEncoder.from_pretrained(folder / FRAME_ENCODER, pooling=settings.frame_pooling)
        self.tokens = HubertTokenizer.from_pretrained(folder / HUBERT, folder / SEMANTIC_QUANTIZER)
        self.vae = AutoencoderKL.from_pretrained(folder, subfolder="vae", local_files_only=True).eval()
        vocoder = json.loads((folder / "vocoder" / "config.json").read_text(encoding="utf-8"))
        self.mel = MelConfig(n_mels=int(vocoder["num_mels"]))

    def rows(self, example: FoleyExample) -> list[FeatureRow]:
        """The stretches of one clip.

        Raises:
            MediaError: If the clip is silent, has no frames, or is shorter than 0.32 s.
        """
        peak = float(np.abs(example.audio).max(initial=0.0))
        if not np.isfinite(example.audio).all() or peak < _SILENT_PEAK:
            raise MediaError(f"{example.id} is silent or damaged (peak {peak:g}).")
        frames = torch.cat([self.frames.encode(part) for part in example.frames])
        duration_s = min(len(example.audio) / 16_000, len(frames) / FRAME_RATE + 1 / FRAME_RATE)
        stretches = list(_stretches(duration_s, self.settings.window_s))
        if not stretches:
            raise MediaError(f"{example.id} lasts {duration_s:.2f} s; at least {GRID_S} s are needed.")
        audio = torch.from_numpy(np.ascontiguousarray(example.audio * (_PEAK / peak), dtype=np.float32))
        return [self._row(example, frames, audio, start_s, length_s) for start_s, length_s in stretches]

    @torch.inference_mode()
    def _row(self, example: FoleyExample, frames: Tensor, audio: Tensor, start_s: float, length_s: float) -> FeatureRow:
        heard = audio[n_samples(start_s) : n_samples(start_s + length_s)]
        tokens = self.tokens.encode([heard])[0][: n_semantic_tokens(length_s)]
        image = to_image(log_mel(heard[None], self.mel), self.mel)
        latents = (self.vae.encode(image).latent_dist.mode() * self.vae.config.scaling_factor)[0].half().numpy()
        first = round(start_s * FRAME_RATE)
        count = n_video_frames(length_s)
        # The picture may end a frame before the sound; what it last showed stays.
        shown = frames[torch.arange(first, first + count).clamp(max=len(frames) - 1)].half().numpy()
        return FeatureRow(
            id=f"{example.id}@{start_s:g}",
            captions=list(example.captions),
            class_name=example.class_name,
            onset_s=[t - start_s for t in example.onset_s if start_s <= t < start_s + length_s],
            frames=shown.tobytes(),
            n_frames=count,
            tokens=tokens.tolist(),
            latents=latents.tobytes(),
            latent_shape=list(latents.shape),
        )


def _stretches(duration_s: float, window_s: float) -> Iterator[tuple[float, float]]:
    """Start and length of the stretches of a clip, each a multiple of the grid."""
    start_s = 0.0
    while duration_s - start_s >= GRID_S - 1e-6:
        length_s = min(window_s, int((duration_s - start_s) / GRID_S + 1e-6) * GRID_S)
        yield round(start_s, 6), round(length_s, 6)
        start_s += length_s


def features_identity(settings: PrepareSettings, source: FoleySource) -> dict[str, Any]:
    """What rows depend on: the weights of every frozen part, the settings and the source."""
    folder = Path(settings.hub_folder)
    weights = {}
    for part in (FRAME_ENCODER, HUBERT, SEMANTIC_QUANTIZER, "vae"):
        files = weight_files(folder / part)
        if not files:
            raise AudioAgentError(f"{folder / part} holds no weights; run the recipe that trains it, or load it first.")
        weights[part] = {file.name: file_sha256(file) for file in files}
    return {
        "weights": weights,
        "window_s": settings.window_s,
        "frame_pooling": settings.frame_pooling,
        "rows_per_shard": settings.rows_per_shard,
        "source": dict(source.identity()),
    }


def _check_identity(folder: Path, identity: dict[str, Any]) -> None:
    path = folder / FEATURES_CONFIG
    if path.exists():
        found = json.loads(path.read_text(encoding="utf-8"))
        wrong = [key for key in identity if found.get(key) != identity[key]]
        if wrong:
            raise AudioAgentError(
                f"{folder} holds features of other {', '.join(wrong)}: {[found.get(k) for k in wrong]}, now "
                f"{[identity[k] for k in wrong]}. Choose another output folder, or remove this one."
            )
        return
    with atomic_path(path) as partial:
        partial.write_text(json.dumps(identity, indent=2) + "\n", encoding="utf-8")


_worker: dict[str, Any] = {}


def _start_worker(settings: PrepareSettings, source: FoleySource) -> None:
    torch.set_num_threads(1)
    _worker.update(encoders=Encoders(settings), source=source)


def _write_shard(folder: Path, shard: int) -> tuple[int, dict[str, str]]:
    encoders, source = _worker["encoders"], _worker["source"]
    return write_shard(folder, shard, encoders, source)


def write_shard(folder: Path, shard: int, encoders: Encoders, source: FoleySource) -> tuple[int, dict[str, str]]:
    """Encode the clips of one shard; returns the number of clips and those skipped with the reason."""
    import datasets

    per_shard = encoders.settings.rows_per_shard
    rows, skipped = list[FeatureRow](), dict[str, str]()
    clips = range(shard * per_shard, min(len(source), (shard + 1) * per_shard))
    for index in clips:
        try:
            example = source.example(index, encoders.frames.image_size)
            rows += encoders.rows(example)
        except (MediaError, ValueError) as error:
            skipped[f"clip {index}"] = str(error)
    with atomic_path(shard_path(folder, shard)) as partial:
        features = _features()
        columns = {name: [dict(row)[name] for row in rows] for name in features}
        datasets.Dataset.from_dict(columns, features=features).to_parquet(str(partial))
    if skipped:
        with atomic_path(shard_path(folder, shard).with_suffix(".skipped.json")) as partial:
            partial.write_text(json.dumps(skipped, indent=2) + "\n", encoding="utf-8")
    return len(clips), skipped


def _features() -> Any:
    """Types of the columns, said outright: a shard without onsets or without rows would have others."""
    from datasets import Features, List, Value

    return Features(
        {
            "id": Value("string"),
            "captions": List(Value("string")),
            "class_name": Value("string"),
            "onset_s": List(Value("float64")),
            "frames": Value("binary"),
            "n_frames": Value("int64"),
            "tokens": List(Value("int64")),
            "latents": Value("binary"),
            "latent_shape": List(Value("int64")),
        }
    )


def shard_path(folder: Path, shard: int) -> Path:
    """Where a shard lies."""
    return folder / f"shard-{shard:05d}.parquet"


def prepare(
    source: FoleySource,
    output: str | Path,
    settings: PrepareSettings,
    *,
    num_proc: int = 1,
    callback: Callable[[int, int], None] | None = None,
) -> PrepareReport:
    """Encode a source into `output`, going on where an earlier run was cut off.

    Args:
        source: Clips.
        output: Folder of shards.
        settings: Frozen parts and how clips are cut.
        num_proc: Processes that encode, each with its own copy of the frozen parts.
        callback: Called as `(clips done, clips in all)`.

    Raises:
        AudioAgentError: If the folder holds features of other models or settings, or a frozen part is missing.
    """
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    _check_identity(folder, features_identity(settings, source))
    n_shards = -(-len(source) // settings.rows_per_shard)
    open_shards = [i for i in range(n_shards) if not shard_path(folder, i).exists()]
    report = PrepareReport()
    done = len(source) - sum(
        min(settings.rows_per_shard, len(source) - i * settings.rows_per_shard) for i in open_shards
    )

    def advance(result: tuple[int, dict[str, str]]) -> None:
        nonlocal done
        done += result[0]
        report.n_new += result[0]
        if callback is not None:
            callback(done, len(source))

    if num_proc <= 1 and open_shards:
        encoders = Encoders(settings)
        for shard in open_shards:
            advance(write_shard(folder, shard, encoders, source))
    elif open_shards:
        with ProcessPoolExecutor(
            num_proc, mp_context=get_context("spawn"), initializer=_start_worker, initargs=(settings, source)
        ) as pool:
            for future in as_completed([pool.submit(_write_shard, folder, shard) for shard in open_shards]):
                advance(future.result())
    for path in sorted(folder.glob("shard-*.skipped.json")):
        report.skipped.update(json.loads(path.read_text(encoding="utf-8")))
    report.n_rows = count_rows(folder)
    return report


def count_rows(folder: Path) -> int:
    """Rows in all shards of a folder."""
    import pyarrow.parquet as parquet

    return sum(parquet.read_metadata(path).num_rows for path in sorted(folder.glob("shard-*.parquet")))
