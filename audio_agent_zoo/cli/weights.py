"""Commands that make, measure and publish weights: prepare, fit, evaluate, import-quantizer."""

import argparse
import sys
from functools import partial
from pathlib import Path
from typing import Any

from audio_agent_zoo.cli.sources import open_splits
from audio_agent_zoo.errors import MediaError


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


def _advance(bar: Any, done: int, total: int) -> None:
    bar.total = total
    bar.update(done - bar.n)


def prepare(arguments: argparse.Namespace) -> int:
    """Encode clips into shards of features."""
    from tqdm import tqdm

    from audio_agent_zoo.data.prepare import PrepareSettings, shard_path
    from audio_agent_zoo.data.prepare import prepare as encode
    from audio_agent_zoo.hub import resolve

    settings = PrepareSettings(str(resolve(arguments.weights)), window_s=arguments.window)
    for name, source in open_splits(arguments, arguments.window).items():
        # What an earlier run encoded must not count as the speed of this one.
        shards = range(-(-len(source) // settings.rows_per_shard))
        n_there = sum(shard_path(arguments.output / name, i).exists() for i in shards) * settings.rows_per_shard
        there = min(n_there, len(source))
        bar = tqdm(desc=name, unit="clip", total=len(source), initial=there, file=sys.stderr)
        report = encode(
            source,
            arguments.output / name,
            settings,
            num_proc=arguments.num_proc,
            callback=partial(_advance, bar),
        )
        bar.close()
        print(f"{name}: {report.n_rows} rows, {report.n_new} clips encoded now, {len(report.skipped)} skipped")
        for clip, reason in report.skipped.items():
            print(f"  {clip}: {reason}")
        if not report.n_rows:
            raise MediaError(
                f"none of the {len(source)} clips for {name} can be used; audio-agent data-check tells more."
            )
    return 0


def fit(arguments: argparse.Namespace) -> int:
    """Hand the rest of the line to LightningCLI."""
    from audio_agent_zoo.training.fit import fit as run_fit

    rest = list(arguments.rest)
    for i, word in enumerate(rest[:-1]):
        if word in ("--config", "-c"):
            rest[i + 1] = str(find_recipe(Path(rest[i + 1])))
    run_fit(rest)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Run an evaluation recipe and print its figures."""
    from audio_agent_zoo.evaluation import evaluate as run_evaluation
    from audio_agent_zoo.evaluation import results_table

    results = run_evaluation(find_recipe(arguments.recipe), arguments.out)
    print(results_table(results))
    return 0


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
