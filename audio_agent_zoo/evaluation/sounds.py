"""Sounds made for an evaluation, kept in its folder: a killed run goes on, and scoring again makes nothing again."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from hashlib import sha256
from math import ceil
from pathlib import Path
from time import sleep
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout
from numpy.typing import NDArray
from torch import Tensor, nn
from tqdm import tqdm

from audio_agent_zoo import __version__
from audio_agent_zoo.media import atomic_path, read_audio, write_audio
from audio_agent_zoo.pipelines.fingerprint import fingerprint
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from audio_agent_zoo.rates import SAMPLE_RATE

Audio = NDArray[np.float32]
Advance = Callable[[int, int], None]
"""Called as `(steps done, steps in all)` of the batch that is being made."""

BATCH = 32
"""Most clips made at once: what the pipelines denoise together at 2.56 s, so that batches fall as in one call."""

_WAIT_S = 0.2


def settings_key(settings: Mapping[str, Any]) -> str:
    """Short identity of everything that decides over a sound, as plain values."""
    text = json.dumps({**settings, "version": __version__}, sort_keys=True, default=str)
    return sha256(text.encode()).hexdigest()[:16]


def weights_key(parts: TextToAudioParts, more: Iterable[nn.Module] = (), settings: Any = None) -> str:
    """Identity of loaded weights and of how they like to be sampled.

    Args:
        parts: The text-to-audio base.
        more: Networks over it.
        settings: Their settings, a dataclass instance or plain values.
    """
    networks = (parts.conditioning, parts.unet, parts.vae, parts.vocoder, *more)
    scheduler = parts.scheduler
    return settings_key(
        {
            "weights": fingerprint(networks),
            "generation": asdict(parts.generation),
            "mel": parts.mel.to_dict(),
            "scheduler": [type(scheduler).__name__, dict(scheduler.config)],
            "settings": str(settings),
        }
    )


def even_batches(n: int, most: int) -> list[range]:
    """`n` items in as few batches as can be, of even size."""
    size = ceil(n / max(1, ceil(n / most)))
    return [range(start, min(n, start + size)) for start in range(0, n, max(1, size))]


class SoundStore:
    """A folder of sounds per system, named after it and after all that decides over them.

    Several processes may run the same evaluation in one folder: each takes batches that nobody else is at.

    Args:
        folder: Where to; created if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def _place(self, name: str, settings: Mapping[str, Any]) -> Path:
        place = self.folder / f"{name}-{settings_key(settings)}"
        place.mkdir(parents=True, exist_ok=True)
        return place

    def files(self, name: str, settings: Mapping[str, Any], n: int) -> list[Path]:
        """Where the sounds of a system lie, or will."""
        place = self._place(name, settings)
        return [place / f"{i:05d}.wav" for i in range(n)]

    def sounds(
        self,
        name: str,
        settings: Mapping[str, Any],
        n: int,
        make: Callable[[range, Advance], Sequence[Audio]],
        most: int = BATCH,
    ) -> list[Audio]:
        """Sounds of one system, those that are there and those that `make` makes now.

        Args:
            name: System, part of a folder's name.
            settings: What decides over the sounds, as plain values.
            n: How many there are.
            make: Makes those of a range of places, and says how far it is.
            most: Most that are made at once.

        Returns:
            One `(samples,)` each; from the files, so that a run that goes on gives what one without a break gives.

        Raises:
            MediaError: If the folder can't be written.
        """
        files = self.files(name, settings, n)
        open_batches = [batch for batch in even_batches(n, most) if not _there(files, batch)]
        with tqdm(desc=name, unit="clip", total=n, initial=n - sum(map(len, open_batches))) as bar:
            while open_batches:
                done = [batch for batch in open_batches if self._batch(files, batch, make, bar)]
                open_batches = [batch for batch in open_batches if batch not in done]
                if open_batches and not done:
                    sleep(_WAIT_S)  # another process is at the rest
        return [read_audio(file, SAMPLE_RATE) for file in files]

    @staticmethod
    def _batch(
        files: list[Path], batch: range, make: Callable[[range, Advance], Sequence[Audio]], bar: "tqdm[Any]"
    ) -> bool:
        """Make one batch, unless another process is at it; whether it is there now."""
        lock = FileLock(files[batch.start].with_suffix(".lock"), timeout=0)
        first = bar.n

        def advance(done: int, total: int) -> None:
            bar.update(first + len(batch) * done // max(1, total) - bar.n)

        try:
            with lock:
                if not _there(files, batch):
                    for i, audio in zip(batch, make(batch, advance), strict=True):
                        write_audio(files[i], audio, SAMPLE_RATE, subtype="FLOAT")
        except Timeout:
            return False
        bar.update(first + len(batch) - bar.n)
        return True

    def tokens(self, name: str, settings: Mapping[str, Any], make: Callable[[], Sequence[Tensor]]) -> list[Tensor]:
        """Semantic tokens, read if they are there, else made and kept.

        Args:
            name: What wrote them.
            settings: What decides over them.
            make: Writes them: `(tokens,)` int64 each.
        """
        place = self._place(name, settings)
        path = place / "tokens.json"
        with FileLock(place / "tokens.lock"):
            if not path.is_file():
                with atomic_path(path) as partial:
                    partial.write_text(json.dumps([one.tolist() for one in make()]) + "\n", encoding="utf-8")
        return [torch.tensor(row, dtype=torch.int64) for row in json.loads(path.read_text(encoding="utf-8"))]


def _there(files: Sequence[Path], batch: range) -> bool:
    return all(files[i].is_file() for i in batch)
