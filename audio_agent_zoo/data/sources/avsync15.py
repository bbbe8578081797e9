"""AVSync15: 1500 short videos of 15 classes whose sounds go with what is seen."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from audio_agent_zoo.data.sources.splits import Split, held_out
from audio_agent_zoo.data.sources.tables import read_text
from audio_agent_zoo.data.sources.video_files import VideoFiles, VideoRow, named_file, words
from audio_agent_zoo.errors import MediaError

N_VIDEOS, N_CLASSES = 1500, 15
"""Size of the published set."""

LISTS = ("train.txt", "test.txt")


class AVSync15Source(VideoFiles):
    """AVSync15 in its published layout: `videos/CLASS/NAME.mp4`, and lists of them in `train.txt` and `test.txt`.

    The set has no validation split of its own. A share of the training list is held out, so that nothing is
    chosen by the clips it is tested on.

    Args:
        path: Folder that holds `videos`, `train.txt` and `test.txt`.
        split: train, validation or test.
        validation_share: Share of the training list for validation.
        seed: Another seed holds others out.

    Raises:
        MediaError: If a list is missing, can't be read, or names a file outside `videos`.
        ValueError: If the share is not in [0, 1).

    Source: Audio-Synchronized Visual Animation (AVSync15), section 4 of its README; Audio-Agent, section 4.1.
    """

    def __init__(self, path: str | Path, split: Split = "train", validation_share: float = 0.05, seed: int = 0) -> None:
        folder = Path(path)
        listed = {name: _names(folder / name) for name in LISTS}
        if both := set(listed["train.txt"]) & set(listed["test.txt"]):
            raise MediaError(
                f"{folder}: {len(both)} videos are in both lists, such as {min(both)}; load the set again."
            )
        chosen = listed["test.txt" if split == "test" else "train.txt"]
        if split != "test":
            kept_out = held_out(chosen, validation_share, seed)
            chosen = [name for name in chosen if (name in kept_out) == (split == "validation")]
        rows = [_row(folder / "videos", name) for name in sorted(chosen)]
        settings = {"source": "avsync15", "split": split, "validation_share": validation_share, "seed": seed}
        super().__init__(settings, rows, _notes(folder, listed))


def _names(path: Path) -> list[str]:
    """Lines of a list, each once."""
    names = list(dict.fromkeys(line.strip() for line in read_text(path).splitlines() if line.strip()))
    for name in names:
        parts = PurePosixPath(name).parts
        if len(parts) < 2 or ".." in parts or parts[0] == "/":
            raise MediaError(f"{path} names {name!r}; a line is CLASS/NAME.mp4, below videos/.")
    return names


def _row(videos: Path, name: str) -> VideoRow:
    class_name = PurePosixPath(name).parts[0]
    return VideoRow(name, str(named_file(videos, name)), (words(class_name),), class_name)


def _notes(folder: Path, listed: dict[str, list[str]]) -> Iterator[str]:
    names = [name for one in listed.values() for name in one]
    classes = Counter(PurePosixPath(name).parts[0] for name in names)
    counts = " and ".join(f"{len(names)} videos in {list_name}" for list_name, names in listed.items())
    yield f"{counts}, of {len(classes)} classes with {min(classes.values())} to {max(classes.values())} each."
    if (len(names), len(classes)) != (N_VIDEOS, N_CLASSES):
        yield f"The published set has {N_VIDEOS} videos of {N_CLASSES} classes; figures on this one can't be compared."
    gone = [name for name in names if not named_file(folder / "videos", name).is_file()]
    if gone:
        yield f"{len(gone)} of the listed videos are not in videos/, such as {gone[0]}."
