"""Shards of prepared rows: which clips are in which, how one is written, and what a folder of them holds."""

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as parquet

from audio_agent_zoo.columns import FeatureRow
from audio_agent_zoo.data.clip_encoders import Encoders
from audio_agent_zoo.data.sources.examples import FoleySource
from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import atomic_path

ROWS_PER_SHARD = 64
_SHARDS_OF_A_SMALL_SOURCE = 16
_LEFT_OVER_S = 3600.0
# Said outright: a shard without onsets or without rows would have columns of other types.
_COLUMNS = {
    "id": pa.string(),
    "captions": pa.list_(pa.string()),
    "class_name": pa.string(),
    "onset_s": pa.list_(pa.float64()),
    "frames": pa.binary(),
    "n_frames": pa.int64(),
    "tokens": pa.list_(pa.int64()),
    "latents": pa.binary(),
    "latent_shape": pa.list_(pa.int64()),
}


@dataclass(frozen=True)
class ShardLayout:
    """Which clips of a source are in which shard of a folder.

    Attributes:
        folder: Folder of shards.
        n_clips: Clips of the source.
        rows_per_shard: Clips of a shard; the last may have fewer.
    """

    folder: Path
    n_clips: int
    rows_per_shard: int

    def __len__(self) -> int:
        return -(-self.n_clips // self.rows_per_shard)

    def clips(self, shard: int) -> range:
        """Indices of the clips of a shard."""
        return range(shard * self.rows_per_shard, min(self.n_clips, (shard + 1) * self.rows_per_shard))

    def path(self, shard: int) -> Path:
        """Where a shard lies."""
        return self.folder / f"shard-{shard:05d}.parquet"

    def is_open(self, shard: int) -> bool:
        """Whether a shard is still to be written."""
        return not self.path(shard).exists()

    def open_shards(self) -> list[int]:
        """Shards that are still to be written."""
        return [shard for shard in range(len(self)) if self.is_open(shard)]


def rows_per_shard(n_clips: int) -> int:
    """Clips of a shard, where nobody says otherwise: 64, and fewer for a source that has no 16 shards of those."""
    return max(1, min(ROWS_PER_SHARD, -(-n_clips // _SHARDS_OF_A_SMALL_SOURCE)))


def write_shard(
    layout: ShardLayout,
    shard: int,
    encoders: Encoders,
    source: FoleySource,
    clip_done: Callable[[], None] = lambda: None,
) -> None:
    """Encode the clips of one shard and write it, with the reasons for those it lacks beside it.

    Args:
        layout: Where it belongs.
        shard: Its number.
        encoders: The frozen parts.
        source: Where its clips come from.
        clip_done: Called after each clip.

    Raises:
        MediaError: If it can't be written.
    """
    rows, skipped = list[FeatureRow](), dict[str, str]()
    for index in layout.clips(shard):
        try:
            rows += encoders.rows(source.example(index, encoders.frames.image_size))
        except (MediaError, ValueError) as error:
            skipped[f"clip {index}"] = str(error)
        clip_done()
    reasons = _reasons_path(layout.path(shard))
    # The reasons come first: once the shard is there, nobody looks at its clips again.
    if skipped:
        with atomic_path(reasons) as partial:
            partial.write_text(json.dumps(skipped, indent=2) + "\n", encoding="utf-8")
    else:
        reasons.unlink(missing_ok=True)
    columns = {name: [dict(row)[name] for row in rows] for name in _COLUMNS}
    with atomic_path(layout.path(shard)) as partial:
        parquet.write_table(pa.table(columns, schema=pa.schema(_COLUMNS)), partial)


def _reasons_path(shard: Path) -> Path:
    return shard.with_suffix(".skipped.json")


def count_rows(folder: Path) -> int:
    """Rows in all shards of a folder."""
    return sum(parquet.read_metadata(path).num_rows for path in sorted(folder.glob("shard-*.parquet")))


def skipped_clips(folder: Path) -> Mapping[str, str]:
    """Clip -> why it is in none of the shards that are there."""
    skipped = dict[str, str]()
    for shard in sorted(folder.glob("shard-*.parquet")):
        if _reasons_path(shard).exists():
            skipped.update(json.loads(_reasons_path(shard).read_text(encoding="utf-8")))
    return skipped


def remove_leftovers(folder: Path) -> None:
    """Remove unfinished files of runs that were killed; another machine's that are still being written stay."""
    for path in folder.glob(".unfinished-*"):
        try:
            if time.time() - path.stat().st_mtime > _LEFT_OVER_S:
                path.unlink()
        except FileNotFoundError:
            continue  # finished, or removed by another process, in the meantime
