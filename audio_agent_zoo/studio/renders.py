"""A store of made sounds under the hash of what they were made from; a damaged one counts as missing."""

import io
import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.rates import SAMPLE_RATE

Audio = NDArray[np.float32]


def render_key(made_of: Mapping[str, Any]) -> str:
    """Hex sha256 of what a sound is made from, whatever the order of its entries."""
    return sha256(json.dumps(dict(made_of), sort_keys=True, ensure_ascii=False).encode()).hexdigest()


class RenderStore:
    """Sounds `(samples,)` as 32-bit float WAV, each beside a JSON file with its checksum and what it was made from.

    Args:
        folder: Where they lie; made when the first one is kept.
        sample_rate: Samples per second of all.
    """

    def __init__(self, folder: Path, sample_rate: int = SAMPLE_RATE) -> None:
        self.folder, self.sample_rate = folder, sample_rate

    def _paths(self, key: str) -> tuple[Path, Path]:
        place = self.folder / key[:2] / key
        return place.with_suffix(".wav"), place.with_suffix(".json")

    def get(self, key: str) -> Audio | None:
        """The sound of a key; None where it is missing, cut off or altered."""
        sound, about = self._paths(key)
        try:
            data = sound.read_bytes()
            if sha256(data).hexdigest() != json.loads(about.read_text(encoding="utf-8"))["sha256"]:
                return None
            audio, rate = soundfile.read(io.BytesIO(data), dtype="float32")
        except (OSError, ValueError, KeyError, TypeError, soundfile.LibsndfileError):
            return None
        return audio if rate == self.sample_rate and audio.ndim == 1 else None

    def put(self, key: str, audio: NDArray[np.floating], made_of: Mapping[str, Any]) -> None:
        """Keep a sound; whoever finds it in between finds the whole of it or nothing.

        Raises:
            MediaError: If it can't be written.
        """
        sound, about = self._paths(key)
        wave = io.BytesIO()
        soundfile.write(wave, np.asarray(audio, dtype=np.float32), self.sample_rate, subtype="FLOAT", format="WAV")
        data = wave.getvalue()
        record = {"sha256": sha256(data).hexdigest(), "made_of": dict(made_of)}
        with atomic_path(sound) as partial:
            partial.write_bytes(data)
        with atomic_path(about) as partial:
            partial.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

    def size_bytes(self) -> int:
        """Bytes on the disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def keep_only(self, keys: Collection[str]) -> int:
        """Remove every other sound, and what killed writes left; returns the bytes that were freed."""
        kept = {path for key in keys for path in self._paths(key)}
        freed = 0
        for path in [path for path in self.folder.rglob("*") if path.is_file() and path not in kept]:
            freed += path.stat().st_size
            path.unlink(missing_ok=True)
        return freed
