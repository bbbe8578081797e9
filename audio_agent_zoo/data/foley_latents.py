"""Latents of procedural clips, encoded once by the frozen autoencoder, in batches of equal width."""

import json
from dataclasses import asdict, dataclass
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import TypedDict

import numpy as np
import torch
from diffusers import AutoencoderKL
from lightning import LightningDataModule
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from tqdm import tqdm

from audio_agent_zoo.data.resumed_order import FromWhereTheRunIs, batches_done
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.models.mel import MelConfig, log_mel, to_image
from audio_agent_zoo.synthesis.captions import Split
from audio_agent_zoo.synthesis.catalogue import CLASS_NAMES
from audio_agent_zoo.synthesis.clips import FoleyClip, make_clip, make_pair

VALIDATION_SEED = 2_000_000


class LatentBatch(TypedDict):
    """Latents of clips of one length with one caption each.

    Attributes:
        latents: `(batch, channels, n_mels / 8, columns / 8)`, scaled to unit variance.
        captions: One caption per clip.
    """

    latents: Tensor
    captions: list[str]


@dataclass(frozen=True)
class Bucket:
    """Clips of one length.

    Attributes:
        duration_s: Length in seconds; a multiple of 0.32 keeps the latent divisible for the UNet.
        n_clips: Clips with one kind of sound.
        n_pairs: Clips with two sounds in sequence or at once.
    """

    duration_s: float
    n_clips: int
    n_pairs: int = 0


class _ClipMaker(Dataset[tuple[Tensor, list[str]]]):
    """The clips of one bucket in order, singles first."""

    def __init__(self, bucket: Bucket, split: Split, first_seed: int) -> None:
        self.bucket, self.split, self.first_seed = bucket, split, first_seed

    def __len__(self) -> int:
        return self.bucket.n_clips + self.bucket.n_pairs

    def _clip(self, index: int) -> FoleyClip:
        seed = self.first_seed + index
        if index < self.bucket.n_clips:
            name = CLASS_NAMES[index % len(CLASS_NAMES)]
            return make_clip(seed, self.split, self.bucket.duration_s, class_name=name, n_captions=8)
        return make_pair(seed, self.split, self.bucket.duration_s, together=index % 3 == 0)

    def __getitem__(self, index: int) -> tuple[Tensor, list[str]]:
        clip = self._clip(index)
        return torch.from_numpy(clip.audio), list(clip.captions)


def _collate(items: list[tuple[Tensor, list[str]]]) -> tuple[Tensor, list[list[str]]]:
    return torch.stack([audio for audio, _ in items]), [texts for _, texts in items]


@torch.inference_mode()
def encode_bucket(
    bucket: Bucket, split: Split, first_seed: int, vae: AutoencoderKL, mel: MelConfig, num_workers: int
) -> tuple[Tensor, list[list[str]]]:
    """Make every clip of a bucket and encode it; latents are half precision and unit variance."""
    loader = DataLoader(
        _ClipMaker(bucket, split, first_seed), batch_size=16, num_workers=num_workers, collate_fn=_collate
    )
    latents, captions = [], list[list[str]]()
    for audio, texts in tqdm(loader, desc=f"{split} {bucket.duration_s:g} s", mininterval=10):
        latent = vae.encode(to_image(log_mel(audio, mel), mel)).latent_dist.mode()
        latents.append((latent * vae.config.scaling_factor).half())
        captions += texts
    return torch.cat(latents).contiguous(), captions


class LatentBatches(Dataset[LatentBatch]):
    """Batch `i` is drawn from its own seed, so a resumed run sees the batches an unbroken one would.

    Args:
        buckets: `(latents, captions)` of each length.
        n_batches: Number of batches.
        values_per_batch: Latent columns times clips in a batch; wide clips come in smaller batches.
        seed: Seed of the sequence.
        first: Index of the first batch, where a run goes on.
    """

    def __init__(
        self,
        buckets: list[tuple[Tensor, list[list[str]]]],
        n_batches: int,
        values_per_batch: int,
        seed: int,
        first: int = 0,
    ) -> None:
        self.buckets, self.n_batches, self.values_per_batch = buckets, n_batches, values_per_batch
        self.seed, self.first = seed, first

    def __len__(self) -> int:
        return self.n_batches

    def __getitem__(self, index: int) -> LatentBatch:
        rng = np.random.default_rng([self.seed, self.first + index])
        latents, captions = self.buckets[int(rng.integers(len(self.buckets)))]
        size = max(1, min(len(latents), self.values_per_batch // latents.shape[-1]))
        rows = rng.choice(len(latents), size, replace=False)
        texts = [captions[row][int(rng.integers(len(captions[row])))] for row in rows]
        return LatentBatch(latents=latents[torch.from_numpy(rows)].float(), captions=[_varied(rng, t) for t in texts])


def _varied(rng: np.random.Generator, caption: str) -> str:
    """The same caption as people also write it: without articles now and then, with or without a full stop."""
    if rng.random() < 0.15:
        words = caption.split(" ")
        caption = " ".join(word for word in words if word.lower() not in ("a", "an", "the")) or caption
    return caption + "." if rng.random() < 0.15 else caption


class FoleyLatentsDataModule(LightningDataModule):
    """Procedural clips as latents of a published folder's autoencoder, cached on disk.

    Args:
        hub_folder: Published folder that holds `vae/`.
        cache_folder: Where encoded buckets are kept; each carries the identity of autoencoder and settings.
        durations_s: Length of each bucket in seconds.
        n_clips: Clips of one sound per bucket.
        n_pairs: Clips of two sounds per bucket.
        n_mels: Bands of the autoencoder's mel images.
        batches_per_epoch: Training batches between epoch ends.
        values_per_batch: Latent columns times clips in a batch.
        num_workers: Processes that make clips while the autoencoder encodes.
        seed: Seed of the order of batches.
    """

    def __init__(
        self,
        hub_folder: str = "runs/foley_mini/hub",
        cache_folder: str = "runs/foley_mini/latents",
        durations_s: tuple[float, ...] = (1.28, 2.56, 5.12, 10.24),
        n_clips: tuple[int, ...] = (4560, 6080, 3040, 1520),
        n_pairs: tuple[int, ...] = (0, 0, 400, 500),
        n_mels: int = 64,
        batches_per_epoch: int = 500,
        values_per_batch: int = 1536,
        num_workers: int = 1,
        seed: int = 7,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        if not len(durations_s) == len(n_clips) == len(n_pairs):
            raise ValueError(
                f"durations_s, n_clips and n_pairs hold {len(durations_s)}, {len(n_clips)} and {len(n_pairs)} "
                "entries; give one of each per bucket."
            )
        self.hub_folder, self.cache_folder = Path(hub_folder), Path(cache_folder)
        self.buckets = [Bucket(*values) for values in zip(durations_s, n_clips, n_pairs, strict=True)]
        self.mel = MelConfig(n_mels=n_mels)
        self.batches_per_epoch, self.values_per_batch = batches_per_epoch, values_per_batch
        self.num_workers, self.seed = num_workers, seed
        self.loaded: dict[str, list[tuple[Tensor, list[list[str]]]]] = {}

    def _split_buckets(self, split: Split) -> list[tuple[Bucket, int]]:
        """Buckets of a split with their first seeds; validation is a twentieth of training."""
        if split == "train":
            return [(bucket, i * 100_000) for i, bucket in enumerate(self.buckets)]
        return [
            (Bucket(b.duration_s, max(1, b.n_clips // 20), b.n_pairs // 20), VALIDATION_SEED + i * 100_000)
            for i, b in enumerate(self.buckets)
        ]

    def _weights(self) -> Path:
        weights = sorted((self.hub_folder / "vae").glob("*.safetensors"))
        if not weights:
            raise FileNotFoundError(
                f"{self.hub_folder / 'vae'} holds no autoencoder; run the autoencoder recipe first, "
                "or point data.init_args.hub_folder at a folder that has one."
            )
        return weights[0]

    def _identity(self, bucket: Bucket, split: Split, first_seed: int) -> str:
        settings = {**asdict(bucket), "split": split, "first_seed": first_seed, **self.mel.to_dict()}
        digest = sha256(json.dumps(settings, sort_keys=True).encode())
        digest.update(self._weights().read_bytes())
        return digest.hexdigest()[:16]

    def _bucket(self, bucket: Bucket, split: Split, first_seed: int, vae: AutoencoderKL) -> Path:
        name = f"{split}-{bucket.duration_s:g}s-{self._identity(bucket, split, first_seed)}"
        path = self.cache_folder / f"{name}.safetensors"
        if not (path.exists() and path.with_suffix(".json").exists()):
            latents, captions = encode_bucket(bucket, split, first_seed, vae, self.mel, self.num_workers)
            with atomic_path(path.with_suffix(".json")) as partial:
                partial.write_text(json.dumps(captions), encoding="utf-8")
            with atomic_path(path) as partial:
                save_file({"latents": latents}, partial)
        return path

    def _load(self, split: Split) -> list[tuple[Tensor, list[list[str]]]]:
        if split not in self.loaded:
            self._weights()  # else a folder without them would be looked for on the Hub
            vae = AutoencoderKL.from_pretrained(self.hub_folder, subfolder="vae", local_files_only=True).eval()
            paths = [self._bucket(bucket, split, seed, vae) for bucket, seed in self._split_buckets(split)]
            self.loaded[split] = [
                (load_file(path)["latents"], json.loads(path.with_suffix(".json").read_text())) for path in paths
            ]
        return self.loaded[split]

    def training_captions(self) -> list[str]:
        """Every caption of the training split."""
        return [text for _, captions in self._load("train") for variants in captions for text in variants]

    def prepare_data(self) -> None:
        """Encode what is not cached yet."""
        self._load("train")
        self._load("validation")

    def setup(self, stage: str) -> None:
        """Read the cache."""
        self.prepare_data()

    def train_dataloader(self) -> DataLoader[LatentBatch]:
        """One epoch of batches, each of one width, from the step the run is at."""
        batches = LatentBatches(self._load("train"), self.batches_per_epoch, self.values_per_batch, self.seed)
        order = FromWhereTheRunIs(batches, partial(batches_done, self))
        return DataLoader(batches, batch_size=None, sampler=order)

    def val_dataloader(self) -> DataLoader[LatentBatch]:
        """A fixed set of batches over all widths."""
        batches = LatentBatches(self._load("validation"), 12, self.values_per_batch, self.seed + 1)
        return DataLoader(batches, batch_size=None)
