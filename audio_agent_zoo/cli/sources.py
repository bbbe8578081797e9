"""Sources of clips by name, for `prepare` and `data check`; and the check itself."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from audio_agent_zoo.data.sources.examples import FoleySource
    from audio_agent_zoo.data.sources.splits import Split

SOURCES = ("synthesis", "folder", "avsync15", "vggsound", "audiocaps", "hub")
N_CLIPS = 2800


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the arguments that name a source."""
    parser.add_argument("--source", choices=SOURCES, default="synthesis", help="where clips come from")
    parser.add_argument("--path", metavar="PATH", help="folder or table of the clips; of hub: repository or folder")
    parser.add_argument("--clips", type=int, help=f"procedural clips (default {N_CLIPS}); of hub: at most so many rows")
    parser.add_argument("--validation-share", type=float, default=0.05, metavar="SHARE", help="held out (default 0.05)")
    parser.add_argument("--revision", help="of hub: branch, tag or commit")
    parser.add_argument("--subset", help="of hub: configuration")
    parser.add_argument("--streaming", action="store_true", help="of hub: read without keeping anything on the disk")


def open_splits(arguments: argparse.Namespace, window_s: float = 10.24) -> "dict[str, FoleySource]":
    """The training and the validation split of the source that is named.

    Raises:
        ValueError: If its path is missing, or an argument is not for it.
        MediaError: If it can't be read.
    """
    _check_belonging(arguments)
    if arguments.source == "synthesis":
        return _synthesis(arguments.clips or N_CLIPS, window_s)
    if not arguments.path:
        raise ValueError(f"--source {arguments.source} needs --path.")
    if not 0 < arguments.validation_share < 1:
        raise ValueError(f"--validation-share is {arguments.validation_share}; give a share in (0, 1), such as 0.05.")
    return _hub(arguments) if arguments.source == "hub" else _files(arguments)


def _check_belonging(arguments: argparse.Namespace) -> None:
    """Raise ValueError for an argument that the source would not heed."""
    given = {
        "--path": arguments.path,
        "--clips": arguments.clips,
        "--revision": arguments.revision,
        "--subset": arguments.subset,
        "--streaming": arguments.streaming,
    }
    heeded = {"synthesis": {"--clips"}, "hub": set(given)}.get(arguments.source, {"--path"})
    if wrong := [name for name, value in given.items() if value and name not in heeded]:
        raise ValueError(f"--source {arguments.source} does not take {', '.join(wrong)}.")
    if arguments.clips is not None and arguments.clips < 1:
        raise ValueError(f"--clips is {arguments.clips}; give a number above 0.")


def _synthesis(n_clips: int, window_s: float) -> "dict[str, FoleySource]":
    from audio_agent_zoo.data.sources.synthesis import FoleyWorldVideos

    return {
        "train": FoleyWorldVideos("train", n_clips, window_s),
        "validation": FoleyWorldVideos("validation", max(28, n_clips // 20), window_s),
    }


def _files(arguments: argparse.Namespace) -> "dict[str, FoleySource]":
    from audio_agent_zoo.data.sources.audiocaps import AudioCapsSource
    from audio_agent_zoo.data.sources.avsync15 import AVSync15Source
    from audio_agent_zoo.data.sources.folder import FolderSource
    from audio_agent_zoo.data.sources.vggsound import VGGSoundSource

    classes = {
        "folder": FolderSource,
        "avsync15": AVSync15Source,
        "vggsound": VGGSoundSource,
        "audiocaps": AudioCapsSource,
    }
    splits: tuple[Split, ...] = ("train", "validation")
    opened = {split: classes[arguments.source](arguments.path, split, arguments.validation_share) for split in splits}
    for note in dict.fromkeys(note for source in opened.values() for note in source.notes):
        print(note, file=sys.stderr)
    if not len(opened["train"]):
        raise ValueError(f"{arguments.path} has no clips for training; check its split column.")
    if not len(opened["validation"]):
        print("There are no clips for validation; add some, or raise --validation-share.", file=sys.stderr)
    return {split: source for split, source in opened.items() if len(source)}


def _hub(arguments: argparse.Namespace) -> "dict[str, FoleySource]":
    from audio_agent_zoo.data.sources.hub_dataset import HubDatasetSource

    load = partial(
        HubDatasetSource.load,
        arguments.path,
        validation_share=arguments.validation_share,
        subset=arguments.subset,
        revision=arguments.revision,
        streaming=arguments.streaming,
        n_clips=arguments.clips,
    )
    return {"train": load("train"), "validation": load("validation")}


def data_check(arguments: argparse.Namespace) -> int:
    """Look through the clips of a source and write what was found."""
    from tqdm import tqdm

    from audio_agent_zoo.data.check import check_clips
    from audio_agent_zoo.data.check_report import report_table, write_report

    bar = tqdm(desc="clips", unit="clip", file=sys.stderr)

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)

    splits = open_splits(arguments)
    report = check_clips(splits, n_most=arguments.sample, num_proc=arguments.num_proc, callback=advance)
    bar.close()
    print(report_table(report))
    for path in write_report(report, arguments.out, title=_title(arguments)):
        print(f"wrote {path}")
    return 0


def _title(arguments: argparse.Namespace) -> str:
    return Path(arguments.path).name if arguments.path else str(arguments.source)
