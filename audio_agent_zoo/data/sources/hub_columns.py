"""Which columns of a data set hold videos, sounds and texts."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

_CAPTIONS = ("captions", "caption", "text", "description", "prompt")
_CLASSES = ("class_name", "class", "category", "label")
_ONSETS = ("onset_s", "onsets")


@dataclass(frozen=True)
class Columns:
    """Which columns hold what; "" is found by type and name, or is not there.

    Attributes:
        video: Videos: bytes or paths.
        audio: Sounds, where they are not in the videos.
        captions: A text or a list of texts.
        class_name: Text, or a class label.
        onset_s: List of seconds.
    """

    video: str = ""
    audio: str = ""
    captions: str = ""
    class_name: str = ""
    onset_s: str = ""


def find_columns(columns: Columns, features: Mapping[str, Any]) -> Columns:
    """The columns by name, looked for where none is given.

    Args:
        columns: Those that are given.
        features: Type of each column of the data set, None where it is not known.

    Raises:
        ValueError: If a column is not there, or none holds videos.
    """
    import datasets

    there = ", ".join(features) or "none"
    if gone := [name for name in asdict(columns).values() if name and name not in features]:
        raise ValueError(f"there is no column {', '.join(gone)}; there are {there}.")

    def of_type(kind: type) -> list[str]:
        return [name for name, feature in features.items() if isinstance(feature, kind)]

    def first(names: Sequence[str]) -> str:
        return next((name for name in names if name in features), "")

    video = columns.video or first([*of_type(datasets.Video), "video", "mp4"])
    if not video:
        raise ValueError(f"no column holds videos; there are {there}. Name it with Columns(video=...).")
    return Columns(
        video=video,
        audio=columns.audio or first([*of_type(datasets.Audio), "audio"]),
        captions=columns.captions or first(_CAPTIONS),
        class_name=columns.class_name or first(_CLASSES),
        onset_s=columns.onset_s or first(_ONSETS),
    )


def undecoded(dataset: Any, features: Mapping[str, Any]) -> Any:
    """The same rows with bytes and paths where the data set would decode."""
    import datasets

    for name, feature in features.items():
        for kind in (datasets.Audio, datasets.Video, datasets.Image):
            if isinstance(feature, kind) and feature.decode:
                dataset = dataset.cast_column(name, kind(decode=False))
    return dataset


def read_captions(value: Any) -> tuple[str, ...]:
    """Captions from a text or a list of texts."""
    several = [value] if isinstance(value, str) else value or []
    return tuple(dict.fromkeys(text for one in several if (text := " ".join(str(one).split()))))


def class_labels(feature: Any) -> list[str] | None:
    """Names of the classes of a column of class labels; None for any other column."""
    import datasets

    return list(feature.names) if isinstance(feature, datasets.ClassLabel) else None


def read_class(value: Any, labels: list[str] | None) -> str:
    """Name of a class from a text, or from its number among the labels."""
    if value is None:
        return ""
    return labels[value] if labels is not None and isinstance(value, int) else str(value)
