"""Commands that make weights: prepare, fit, import-quantizer."""

import argparse
import sys
from pathlib import Path
from typing import Any

from audio_agent_zoo.cli.sources import open_splits


def find_recipe(path: Path) -> Path:
    """A recipe in the working directory, or the copy that the installed package carries.

    Raises:
        ValueError: If neither exists.
    """
    package = Path(__file__).parents[1]  # a wheel holds recipes/ inside the package, a checkout beside it
    for place in (path, package / path, package.parent / path):
        if place.is_file():
            return place
    raise ValueError(f"there is no recipe {path}; the package's own are in recipes/, listed in recipes/README.md.")


def prepare(arguments: argparse.Namespace) -> int:
    """Encode clips into shards of features."""
    from tqdm import tqdm

    from audio_agent_zoo.data.clip_encoders import PrepareSettings
    from audio_agent_zoo.data.prepare import Place, default_num_proc
    from audio_agent_zoo.data.prepare import prepare as encode
    from audio_agent_zoo.hub import resolve

    place = Place.of(arguments.rank, arguments.world_size)
    settings = PrepareSettings(str(resolve(arguments.weights)), window_s=arguments.window)
    num_proc = default_num_proc(settings) if arguments.num_proc is None else arguments.num_proc
    for name, source in open_splits(arguments, arguments.window).items():
        bar: Any = None

        def advance(done: int, total: int, name: str = name) -> None:
            nonlocal bar
            if bar is None:  # what an earlier run encoded must not count as the speed of this one
                bar = tqdm(desc=name, unit="clip", total=total, initial=done, file=sys.stderr)
            bar.update(done - bar.n)

        try:
            report = encode(
                source,
                arguments.output / name,
                settings,
                num_proc=num_proc,
                place=place,
                device=arguments.device,
                callback=advance,
            )
        finally:
            if bar is not None:
                bar.close()
        print(f"{name}: {report.n_rows} rows, {report.n_new} clips encoded now, {len(report.skipped)} skipped")
        for clip, reason in report.skipped.items():
            print(f"  {clip}: {reason}")
        if report.n_open:
            print(f"  {report.n_open} clips are left to other processes; the same command without ranks finishes them")
    return 0


def fit(arguments: argparse.Namespace) -> int:
    """Hand the rest of the line to LightningCLI."""
    from audio_agent_zoo.training.fit import fit_until_told

    rest = list(arguments.rest)
    for i, word in enumerate(rest[:-1]):
        if word in ("--config", "-c"):
            rest[i + 1] = str(find_recipe(Path(rest[i + 1])))
    return fit_until_told(rest)


def import_quantizer(arguments: argparse.Namespace) -> int:
    """Convert the public k-means of HuBERT."""
    from audio_agent_zoo.models.kmeans_import import KM500_SHA256
    from audio_agent_zoo.models.kmeans_import import import_quantizer as convert

    expected = KM500_SHA256 if arguments.sha256 is None else arguments.sha256
    expected = None if arguments.any_hash else expected
    config = convert(arguments.file, arguments.out, expected_sha256=expected).config
    print(f"{config.n_centroids} centroids of {config.dim} values\nsha256   {config.source_sha256}")
    print(f"wrote    {arguments.out}")
    return 0
