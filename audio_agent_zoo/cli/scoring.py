"""Commands that measure: evaluate a recipe, score any folder of sounds against another, publish the figures."""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

_METRICS = "onsets, frechet, kernel, kl, similarity, lsd, av_align"
_NETWORKS = "mini, vggish, panns, clap, passt, melception"


def add_score(parser: argparse.ArgumentParser) -> None:
    """Arguments of `score`."""
    parser.add_argument("generated", type=Path, help="folder of generated sounds (WAV, FLAC, MP3, or videos)")
    parser.add_argument("reference", type=Path, help="folder of true sounds or videos, of the same file names")
    parser.add_argument(
        "--metrics", type=_names, default=(), metavar="A,B", help=f"some of {_METRICS} (default: all that can be had)"
    )
    parser.add_argument(
        "--network",
        action="append",
        default=[],
        metavar="NAME[=PATH]",
        help=f"what hears: {_NETWORKS}, with the file of its weights; repeatable (default mini, which comes along)",
    )
    parser.add_argument(
        "--onsets", type=_names, default=("condfoley",), metavar="A,B", help="protocols: condfoley (default), mmaudio"
    )
    parser.add_argument("--out", type=Path, default=Path("score"), metavar="FOLDER", help="results (default score)")
    parser.add_argument("--partial", action="store_true", help="score the pairs that are whole, list the rest")
    parser.add_argument("--trim", action="store_true", help="cut both sounds of a pair to the shorter one first")
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap")
    parser.add_argument("--show", type=int, default=12, metavar="N", help="clips in the page (default 12)")
    parser.add_argument("--device", default="cpu", help="where networks run (default cpu)")
    parser.set_defaults(run=score)


def _names(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _progress() -> Callable[[str, int, int], None]:
    """One bar per metric, where somebody looks at it."""
    from tqdm import tqdm

    bars = dict[str, Any]()

    def advance(what: str, done: int, total: int) -> None:
        if what not in bars:
            bars[what] = tqdm(desc=what, unit="clip", total=total, file=sys.stderr, disable=None)
        bars[what].update(done - bars[what].n)
        if done >= total:
            bars.pop(what).close()

    return advance


def score(arguments: argparse.Namespace) -> int:
    """Compare two folders and print the figures."""
    from audio_agent_zoo.evaluation import results_table
    from audio_agent_zoo.evaluation.judges import load_judge
    from audio_agent_zoo.evaluation.score import ScoreSettings
    from audio_agent_zoo.evaluation.score import score as compare

    given = [word.partition("=") for word in arguments.network or ["mini"]]
    settings = ScoreSettings(
        metrics=arguments.metrics,
        networks=tuple(name for name, _, _ in given),
        onset_protocols=arguments.onsets,
        trim=arguments.trim,
        partial=arguments.partial,
        seed=arguments.seed,
        n_shown=arguments.show,
    )
    judges = [load_judge(name, path, arguments.device) for name, _, path in given]
    results = compare(
        arguments.generated, arguments.reference, arguments.out, settings, judges=judges, callback=_progress()
    )
    print(results_table(results))
    _print_notes(results)
    print(f"wrote    {arguments.out / 'results.html'}, results.json, results.md and clips.csv beside it")
    return 0


def _print_notes(results: dict[str, Any]) -> None:
    for reason in results["left_out"]:
        print(f"left out {reason}")
    for kind, entries in results["problems"].items():
        print(f"{kind:<8} {len(entries)} clips: {', '.join(entries[:5])}{' ...' if len(entries) > 5 else ''}")
    if lengths := results["length_differences"]:
        print(f"lengths  {len(lengths)} of {results['n_pairs']} clips differ in length; results.json lists them")
    if silent := results["silent"]:
        print(f"silent   {len(silent)} generated clips: {', '.join(silent[:5])}{' ...' if len(silent) > 5 else ''}")


def add_card(parser: argparse.ArgumentParser) -> None:
    """Arguments of `card`."""
    parser.add_argument("folder", type=Path, help="published folder")
    parser.add_argument(
        "--results",
        type=Path,
        action="append",
        default=[],
        metavar="JSON",
        help="results.json to take into the folder, named after its recipe; repeatable",
    )
    parser.set_defaults(run=card)


def card(arguments: argparse.Namespace) -> int:
    """Take results into a published folder, and their figures into the metadata of its card."""
    import json

    from audio_agent_zoo.errors import MediaError
    from audio_agent_zoo.media import atomic_path
    from audio_agent_zoo.published_card import read_results, refresh_card

    for path in arguments.results:
        try:
            text = path.read_text(encoding="utf-8")
            name = Path(json.loads(text)["recipe"]).stem.removesuffix("_eval")
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise MediaError(f"{path} can't be read as results: {error!r}. Give a results.json.") from error
        with atomic_path(arguments.folder / f"{name}_results.json") as partial:
            partial.write_text(text, encoding="utf-8")
    written = refresh_card(arguments.folder)
    for name, results in read_results(arguments.folder).items():
        print(f"{name:<32}{len(results['figures']):4d} figures")
    print(f"wrote    {written}")
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    """Run evaluation recipes and print their figures, and how they stand to the committed ones."""
    from audio_agent_zoo.cli.weights import find_recipe
    from audio_agent_zoo.evaluation import evaluate as run_evaluation
    from audio_agent_zoo.evaluation import read_recipe, results_table
    from audio_agent_zoo.evaluation.reproduction import Reproduction, committed_results, compare

    recipes = [find_recipe(path) for path in arguments.recipes]
    # Before anything is made, so that a recipe without committed results is refused at once.
    weights = [read_recipe(recipe).weights for recipe in recipes]
    committed = list(map(committed_results, recipes, weights)) if arguments.check else []
    found = list[Reproduction]()
    for i, recipe in enumerate(recipes):
        out = arguments.out / recipe.stem if arguments.out and len(recipes) > 1 else arguments.out
        results = run_evaluation(recipe, out)
        print(results_table(results))
        if arguments.check:
            found.append(compare(results, committed[i]))
            print(found[-1], flush=True)
    if len(found) > 1:
        for recipe, one in zip(recipes, found, strict=True):
            print(f"{recipe.stem:<28}{'reproduced' if one.holds else 'NOT reproduced'}")
    return 0 if all(one.holds for one in found) else 1
