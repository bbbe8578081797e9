"""Any Hugging Face data set with videos in a column: from the Hub or the disk, whole or as a stream."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.data.sources.examples import FoleyExample
from audio_agent_zoo.data.sources.hub_columns import (
    Columns,
    class_labels,
    find_columns,
    read_captions,
    read_class,
    undecoded,
)
from audio_agent_zoo.data.sources.splits import Split, held_out, is_split, read_split
from audio_agent_zoo.data.sources.video_files import NoPictureError, VideoRow, read_clip, words
from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import read_audio

if TYPE_CHECKING:
    import datasets

_REMOTE = ("hf://", "zip://", "tar://")


class HubDatasetSource:
    """Rows of a data set as clips, decoded here and not by the data set.

    A stream is read in order and has no random access: an index behind the last one begins it anew, so each
    process reads it once when it takes its shards in order.

    Args:
        dataset: Rows, map-style or a stream.
        columns: Which columns hold what.
        positions: Rows that are clips of this source; all when None.
        n_clips: Rows of a stream that does not tell how many it has.
        name: Start of each clip's id.
        root: Folder that paths in plain columns start from.
        origin: Plain values that identify the data; the data set's fingerprint when None.

    Raises:
        ValueError: If a column is not there, none holds videos, or a stream tells no length.
    """

    def __init__(
        self,
        dataset: "datasets.Dataset | datasets.IterableDataset",
        columns: Columns | None = None,
        *,
        positions: Sequence[int] | None = None,
        n_clips: int | None = None,
        name: str = "row",
        root: str | Path | None = None,
        origin: Mapping[str, Any] | None = None,
    ) -> None:
        features: Mapping[str, Any] = dataset.features or {key: None for key in next(iter(dataset), {})}
        self.columns = find_columns(columns or Columns(), features)
        self.origin = dict(origin) if origin is not None else {"data": _fingerprint(dataset)}
        self.labels = class_labels(features.get(self.columns.class_name))
        self.dataset = undecoded(dataset, features)
        self.positions = range(_length(dataset, n_clips)) if positions is None else tuple(positions)
        self.name, self.root = name, Path(root) if root is not None else None
        self._stream: Iterator[dict[str, Any]] | None = None
        self._next = 0

    @classmethod
    def load(
        cls,
        path: str | Path,
        split: Split = "train",
        validation_share: float = 0.05,
        seed: int = 0,
        *,
        subset: str | None = None,
        revision: str | None = None,
        streaming: bool = False,
        n_clips: int | None = None,
        columns: Columns | None = None,
    ) -> "HubDatasetSource":
        """Open a split of a repository on the Hub, of a folder of data files, or of what `save_to_disk` wrote.

        Where there is no validation split, a share of the training rows is held out by a hash of their places.

        Args:
            path: Repository such as `owner/name`, or a folder.
            split: train, validation or test.
            validation_share: Share of the training rows for validation, where no split is for it.
            seed: Another seed holds others out.
            subset: Configuration of the repository.
            revision: Branch, tag or commit; a commit pins what is read.
            streaming: Read while it is loaded, and keep nothing on the disk.
            n_clips: At most so many rows; needed for streams that don't tell their length.
            columns: Which columns hold what.

        Raises:
            ValueError: If there is no such split, or a column is not there.
            MediaError: If the data set can't be opened.
        """
        opened, names, origin = _opened(str(path), subset, revision)
        divided = split != "test" and "validation" not in names
        wanted: Split = "train" if divided else split
        if wanted not in names:
            raise ValueError(f"{path} has the splits {', '.join(names.values())}; none of them is for {split}.")
        dataset = opened(names[wanted], streaming)
        n_rows = _length(dataset, n_clips)
        positions: Sequence[int] = range(n_rows)
        if divided:
            kept_out = held_out([str(i) for i in positions], validation_share, seed)
            positions = [i for i in positions if (str(i) in kept_out) == (split == "validation")]
        origin |= {"split": split, "validation_share": validation_share, "seed": seed}
        root = path if Path(path).is_dir() else None
        return cls(dataset, columns, positions=positions, name=str(names[wanted]), root=root, origin=origin)

    def __len__(self) -> int:
        return len(self.positions)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_stream": None, "_next": 0}

    def example(self, index: int, image_size: int) -> FoleyExample:
        """Read one clip; its frames are decoded as they are asked for, at 21.5 per second.

        Args:
            index: From 0.
            image_size: Pixels of the shorter side of the frames.

        Raises:
            NoSoundError: If the video is without sound, and there is no column of sounds.
            NoPictureError: If the row has no video.
            MediaError: If the video is damaged, cut off or missing; so also while frames are read.
        """
        position = self.positions[index]
        row = self._row(position)
        name = f"{self.name}-{position:06d}"
        audio = None
        if self.columns.audio and row[self.columns.audio] is not None:
            audio = read_audio(self._payload(row[self.columns.audio], name)[0])
        if row[self.columns.video] is None:
            raise NoPictureError(f"{name} has no video in column {self.columns.video}.")
        class_name = read_class(row.get(self.columns.class_name), self.labels)
        onset_s = tuple(float(t) for t in (row.get(self.columns.onset_s) or ()))
        captions = read_captions(row.get(self.columns.captions)) or ((words(class_name),) if class_name else ())
        source, suffix = self._payload(row[self.columns.video], name)
        if isinstance(source, bytes):
            return _from_bytes(source, suffix, VideoRow(name, "", captions, class_name, onset_s), image_size, audio)
        return read_clip(VideoRow(name, source, captions, class_name, onset_s), image_size, audio)

    def identity(self) -> dict[str, Any]:
        """Where the rows are from, which of them, and the columns that are read."""
        return {"source": "hub", **self.origin, "n_clips": len(self), "columns": asdict(self.columns)}

    def _row(self, position: int) -> dict[str, Any]:
        import datasets

        if isinstance(self.dataset, datasets.Dataset):
            return dict(self.dataset[position])
        if self._stream is None or position < self._next:
            self._stream, self._next = iter(self.dataset.skip(position)), position
        for row in self._stream:
            self._next += 1
            if self._next > position:
                return dict(row)
        self._stream = None
        raise MediaError(f"the stream has no row {position}; it ended before. Give n_clips as there are.")

    def _payload(self, value: Any, name: str) -> tuple[bytes | str, str]:
        """Bytes or path of what a cell holds, and its suffix."""
        path = value.get("path") if isinstance(value, dict) else value if isinstance(value, str) else None
        content = value.get("bytes") if isinstance(value, dict) else value
        suffix = PurePosixPath(path).suffix if path else ""
        if isinstance(content, bytes):
            return content, suffix
        if not path:
            raise MediaError(f"{name} holds neither bytes nor a path but {str(value)[:60]!r}.")
        if path.startswith(_REMOTE):
            return _fetched(path), suffix
        return str(self.root / path if self.root is not None else Path(path)), suffix


def _fingerprint(dataset: Any) -> str | None:
    """Hash of the rows, which a stream does not have."""
    import datasets

    return str(dataset._fingerprint) if isinstance(dataset, datasets.Dataset) else None


def _fetched(path: str) -> bytes:
    from datasets.utils.file_utils import xopen

    try:
        with xopen(path, "rb") as file:
            return bytes(file.read())
    except FileNotFoundError as error:
        raise MediaError(f"{path} is not there any more.") from error


def _opened(path: str, subset: str | None, revision: str | None) -> tuple[Any, dict[Split, str], dict[str, Any]]:
    """A function that opens a split, the names of the splits, and what identifies the data."""
    import datasets

    origin: dict[str, Any] = {"dataset": path, "subset": subset, "revision": revision}
    folder = Path(path)
    if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
        loaded = datasets.load_from_disk(path)
        if isinstance(loaded, datasets.Dataset):
            loaded = datasets.DatasetDict(train=loaded)
        prints = {name: one._fingerprint for name, one in loaded.items()}

        def from_disk(name: str, streaming: bool) -> Any:
            return loaded[name].to_iterable_dataset() if streaming else loaded[name]

        return from_disk, _split_names(loaded), origin | {"data": prints}
    try:
        builder = datasets.load_dataset_builder(path, subset, revision=revision)
        names = builder.config.data_files or builder.info.splits or {}
    except (OSError, ValueError, ImportError) as error:
        raise MediaError(f"{path} can't be opened as a data set: {error}") from error

    def from_builder(name: str, streaming: bool) -> Any:
        return datasets.load_dataset(path, subset, split=name, revision=revision, streaming=streaming)

    return from_builder, _split_names(names), origin | {"data": builder.hash}


def _split_names(names: Mapping[Any, Any]) -> dict[Split, str]:
    """Their own name of each of our splits."""
    return {read_split(str(name)): str(name) for name in names if is_split(str(name))}


def _length(dataset: Any, n_clips: int | None) -> int:
    import datasets

    if isinstance(dataset, datasets.Dataset):
        known: int | None = len(dataset)
    else:
        splits = dataset.info.splits or {}
        known = splits[str(dataset.split)].num_examples if str(dataset.split) in splits else None
    if known is None and n_clips is None:
        raise ValueError("the stream does not tell how many rows it has; give n_clips.")
    return min(one for one in (known, n_clips) if one is not None)


def _from_bytes(
    content: bytes, suffix: str, row: VideoRow, image_size: int, audio: NDArray[np.float32] | None
) -> FoleyExample:
    """Read a video by way of a file that lasts as long as its frames are read."""
    folder = TemporaryDirectory(prefix="audio_agent_zoo_")
    path = Path(folder.name) / f"clip{suffix or '.mp4'}"
    try:
        path.write_bytes(content)
        read = read_clip(VideoRow(row.id, str(path), row.captions, row.class_name, row.onset_s), image_size, audio)
    except MediaError as error:
        folder.cleanup()
        raise _renamed(error, path, row.id) from error
    return FoleyExample(read.id, read.audio, read.captions, _frames(read, folder, path), read.class_name, read.onset_s)


def _frames(read: FoleyExample, folder: "TemporaryDirectory[str]", path: Path) -> Iterator[NDArray[np.uint8]]:
    with folder:
        try:
            yield from read.frames
        except MediaError as error:
            raise _renamed(error, path, read.id) from error


def _renamed(error: MediaError, path: Path, name: str) -> MediaError:
    """The error by the name of the row, since no one knows the file."""
    return type(error)(str(error).replace(str(path), name))
