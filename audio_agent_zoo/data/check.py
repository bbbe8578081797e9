"""Look through the clips of a source before anything is trained on them: what is there, what will be left out."""

import json
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from multiprocessing import get_context
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.data.sources.examples import FoleyExample, FoleySource
from audio_agent_zoo.data.sources.video_files import NoPictureError, NoSoundError, VideoFiles
from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.loudness import loudness_lufs
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE

SHORTEST_S = 0.32
"""Clips below this are too short for `prepare`."""

LEFT_OUT = ("unreadable", "no sound", "no picture", "silent", "too short")
"""Why `prepare` leaves a clip out."""

REMARKS = ("no caption", "mostly silent", "clipped", "lengths differ", "heard twice", "in both splits")
"""What `prepare` takes without a word, but is worth a look."""

_IMAGE_SIZE = 16  # every frame is decoded, none is looked at
_BLOCK = SAMPLE_RATE // 10
_SILENT_RMS = 1e-3
_MOSTLY = 0.95  # a single knock in two seconds is what Foley is like
_CLIPPED_PEAK, _CLIPPED_SHARE = 0.999, 1e-3
_DIFFERENT_S = 0.5


@dataclass(frozen=True)
class ClipCheck:
    """What one clip is like.

    Attributes:
        split: Split it is of.
        id: Name within the source.
        class_name: Class of the sound, or "".
        captions: What is heard.
        duration_s: Length of the sound in seconds, None if it can't be read.
        picture_s: Length of the picture in seconds.
        loudness_lufs: Loudness, None in silence.
        silence: Share of the sound below -60 dBFS.
        sound: Hash of the samples.
        left_out: One of `LEFT_OUT`, or "".
        reason: What is wrong, in a sentence.
        remarks: Some of `REMARKS`.
    """

    split: str
    id: str
    class_name: str = ""
    captions: tuple[str, ...] = ()
    duration_s: float | None = None
    picture_s: float | None = None
    loudness_lufs: float | None = None
    silence: float = 0.0
    sound: str = ""
    left_out: str = ""
    reason: str = ""
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class DataReport:
    """What the clips of a source are like.

    Attributes:
        clips: Those that were looked at.
        n_clips: Split -> clips the source has.
    """

    clips: tuple[ClipCheck, ...]
    n_clips: dict[str, int]

    @property
    def usable(self) -> tuple[ClipCheck, ...]:
        """Clips that `prepare` takes."""
        return tuple(clip for clip in self.clips if not clip.left_out)

    def by_class(self) -> dict[str, list[ClipCheck]]:
        """Class -> its clips, the largest class first."""
        classes: dict[str, list[ClipCheck]] = {}
        for clip in self.clips:
            classes.setdefault(clip.class_name, []).append(clip)
        return dict(sorted(classes.items(), key=lambda item: (-len(item[1]), item[0])))

    def counts(self, kinds: Iterable[str]) -> dict[str, list[ClipCheck]]:
        """Kind of problem or remark -> its clips, where there are any."""
        found = {kind: [clip for clip in self.clips if kind in (clip.left_out, *clip.remarks)] for kind in kinds}
        return {kind: clips for kind, clips in found.items() if clips}

    def summary(self) -> dict[str, Any]:
        """The figures of the report as plain values."""
        lengths = [clip.duration_s for clip in self.usable if clip.duration_s is not None]
        levels = [clip.loudness_lufs for clip in self.usable if clip.loudness_lufs is not None]
        texts = [text for clip in self.usable for text in clip.captions]
        return {
            "n_clips": self.n_clips,
            "n_checked": len(self.clips),
            "n_usable": len(self.usable),
            "duration_s": _spread(lengths) | {"sum": round(sum(lengths), 3)},
            "loudness_lufs": _spread(levels),
            "silence": round(float(np.mean([clip.silence for clip in self.usable])), 4) if self.usable else 0.0,
            "captions": {
                "per_clip": dict(sorted(Counter(len(clip.captions) for clip in self.usable).items())),
                "different": len(set(texts)),
                "words": _spread([len(text.split()) for text in texts]),
            },
            "classes": {
                name: dict(Counter(clip.split for clip in clips if not clip.left_out))
                for name, clips in self.by_class().items()
            },
            "left_out": {kind: len(clips) for kind, clips in self.counts(LEFT_OUT).items()},
            "remarks": {kind: len(clips) for kind, clips in self.counts(REMARKS).items()},
        }

    def to_json(self) -> str:
        """The summary and every clip."""
        return json.dumps(
            {"summary": self.summary(), "clips": [asdict(c) for c in self.clips]}, indent=1, allow_nan=False
        )


def _spread(values: Iterable[float]) -> dict[str, float]:
    """Least, middle and greatest; nothing of nothing."""
    one = np.asarray(list(values), np.float64)
    if not len(one):
        return {}
    return {name: round(float(np.quantile(one, q)), 3) for name, q in (("min", 0), ("median", 0.5), ("max", 1))}


def check_clips(
    splits: Mapping[str, FoleySource],
    *,
    n_most: int | None = None,
    num_proc: int = 1,
    callback: Callable[[int, int], None] | None = None,
) -> DataReport:
    """Read every clip once, picture and sound, and note what it is like.

    Args:
        splits: Split -> its source.
        n_most: Look at no more than so many clips, drawn from all; the same ones each time.
        num_proc: Processes that read.
        callback: Called as `(clips done, clips in all)`.

    Raises:
        ValueError: If there are no clips, or `n_most` or `num_proc` is not positive.
    """
    every = [(split, index) for split, source in splits.items() for index in range(len(source))]
    if not every:
        raise ValueError("the source has no clips; check its path.")
    if num_proc < 1 or (n_most is not None and n_most < 1):
        raise ValueError(f"num_proc is {num_proc} and n_most {n_most}; give whole numbers above 0.")
    if n_most is not None and n_most < len(every):
        chosen = np.random.default_rng(0).choice(len(every), n_most, replace=False)
        every = [every[i] for i in sorted(chosen.tolist())]
    clips: dict[tuple[str, int], ClipCheck] = {}
    for key, clip in _checked(splits, every, num_proc):
        clips[key] = clip
        if callback is not None:
            callback(len(clips), len(every))
    compared = _compared([clips[key] for key in every])
    return DataReport(tuple(compared), {split: len(source) for split, source in splits.items()})


Key = tuple[str, int]
_worker: dict[str, FoleySource] = {}


def _checked(splits: Mapping[str, FoleySource], every: list[Key], num_proc: int) -> Iterator[tuple[Key, ClipCheck]]:
    if num_proc == 1:
        yield from ((key, check_clip(splits[key[0]], *key)) for key in every)
        return
    with ProcessPoolExecutor(num_proc, get_context("spawn"), _start_worker, (dict(splits),)) as pool:
        running = {pool.submit(_check_in_worker, key): key for key in every}
        yield from ((running[future], future.result()) for future in as_completed(running))


def _start_worker(splits: dict[str, FoleySource]) -> None:
    _worker.update(splits)


def _check_in_worker(key: Key) -> ClipCheck:
    return check_clip(_worker[key[0]], *key)


def check_clip(source: FoleySource, split: str, index: int) -> ClipCheck:
    """Read one clip to its end and note what it is like."""
    row = source.rows[index] if isinstance(source, VideoFiles) else None
    known = ClipCheck(split, row.id, row.class_name, row.captions) if row else ClipCheck(split, f"clip {index}")
    try:
        example = source.example(index, _IMAGE_SIZE)
        n_frames = sum(len(part) for part in example.frames)
    except (MediaError, ValueError) as error:
        return replace(known, left_out=_kind(error), reason=str(error))
    return _measured(replace(known, id=example.id, class_name=example.class_name), example, n_frames / FRAME_RATE)


def _kind(error: Exception) -> str:
    if isinstance(error, NoSoundError):
        return "no sound"
    return "no picture" if isinstance(error, NoPictureError) else "unreadable"


def _measured(known: ClipCheck, example: FoleyExample, picture_s: float) -> ClipCheck:
    audio, duration_s = example.audio, len(example.audio) / SAMPLE_RATE
    silence, level = _silent_share(audio), loudness_lufs(audio, SAMPLE_RATE) if len(audio) else -math.inf
    clipped = float(np.mean(np.abs(audio) >= _CLIPPED_PEAK)) if len(audio) else 0.0
    left_out = reason = ""
    if min(duration_s, picture_s) < SHORTEST_S:
        left_out, reason = "too short", f"{example.id} lasts {min(duration_s, picture_s):.2f} s of {SHORTEST_S} s."
    elif level == -math.inf:
        left_out, reason = "silent", f"{example.id} has sound that can't be heard."
    found = {
        "no caption": not example.captions,
        "mostly silent": silence > _MOSTLY,
        "clipped": clipped > _CLIPPED_SHARE,
        "lengths differ": abs(duration_s - picture_s) > _DIFFERENT_S,
    }
    return replace(
        known,
        captions=example.captions,
        duration_s=round(duration_s, 3),
        picture_s=round(picture_s, 3),
        loudness_lufs=None if level == -math.inf else round(level, 2),
        silence=round(silence, 4),
        sound=sha256(np.round(audio * 32767).astype(np.int32).tobytes()).hexdigest(),
        left_out=left_out,
        reason=reason,
        remarks=() if left_out else tuple(kind for kind, is_so in found.items() if is_so),
    )


def _silent_share(audio: NDArray[np.float32]) -> float:
    """Share of the blocks of 0.1 s that are below -60 dBFS."""
    blocks = [
        np.sqrt(np.mean(np.square(part))) for part in np.array_split(audio, max(1, len(audio) // _BLOCK)) if len(part)
    ]
    return float(np.mean(np.array(blocks) < _SILENT_RMS)) if blocks else 1.0


def _compared(clips: list[ClipCheck]) -> Iterator[ClipCheck]:
    """The clips with a remark where a sound is there more than once."""
    splits: dict[str, list[str]] = {}
    for clip in clips:
        if not clip.left_out:
            splits.setdefault(clip.sound, []).append(clip.split)
    for clip in clips:
        same = splits.get(clip.sound, []) if not clip.left_out else []
        kind = "in both splits" if len(set(same)) > 1 else "heard twice" if len(same) > 1 else ""
        yield replace(clip, remarks=(*clip.remarks, kind)) if kind else clip
