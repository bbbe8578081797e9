"""`audio-agent`: the package from a terminal. Each command is a thin shell over a public class.

Exit codes: 0 done, 2 wrong usage, 3 the planner failed, 4 weights or a step failed, 5 a file could not
be read or written, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from audio_agent_zoo import __version__
from audio_agent_zoo.cli import interchange, publishing, scoring, sound, sources, studio, weights
from audio_agent_zoo.errors import AudioAgentError, MediaError

USAGE, PLANNER, RENDER, FILES, INTERRUPTED = 2, 3, 4, 5, 130


def _add_planning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help='what to hear, e.g. "Rain, then thunder"')
    _add_length_and_planner(parser)


def _add_length_and_planner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--duration", type=float, default=10.0, metavar="S", help="length in seconds (default 10)")
    _add_planner(parser)


def _add_planner(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--planner",
        default="auto",
        choices=("auto", "rules", "openai"),
        help="auto: the chat API where one is configured, else the offline rules",
    )


def _add_weights(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--weights", default="foley-mini", help="name, folder or Hub repository (default foley-mini)")
    parser.add_argument("--revision", help="revision of a Hub repository")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or mps (default cpu)")


def _add_rendering(parser: argparse.ArgumentParser) -> None:
    _add_weights(parser)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, help="denoising steps (default: the weights' own)")
    parser.add_argument("--guidance", type=float, help="classifier-free guidance (default: the weights' own)")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="audio-agent", description="Generate sound from a sentence.")
    parser.add_argument("--version", action="version", version=f"audio-agent-zoo {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    generate = commands.add_parser("generate", help="plan a request, make every sound, mix them to a WAV")
    _add_planning(generate)
    generate.add_argument(
        "--out", type=Path, default=Path("out.wav"), help="WAV to write; .plan.json and .png go beside"
    )
    generate.add_argument("--stems", action="store_true", help="also write one WAV per step")
    generate.add_argument("--plan", type=Path, metavar="JSON", help="render this plan instead of planning the text")
    _add_rendering(generate)
    generate.set_defaults(run=sound.generate)

    dub = commands.add_parser("dub", help="make the sound of a video and put it under the picture")
    dub.add_argument("video", type=Path)
    dub.add_argument("--caption", help="what the picture sounds like")
    dub.add_argument("--out", type=Path, help="video to write; .wav, .plan.json and .png go beside (default: NAME.dub)")
    dub.add_argument(
        "--layer", action="append", default=[], metavar="'0-4: TEXT'", help="a sound from text; repeatable"
    )
    dub.add_argument("--visual-scale", type=float, help="weight of the picture (default: the weights' own, 0.5)")
    _add_rendering(dub)
    dub.set_defaults(run=sound.dub)

    chat = commands.add_parser("chat", help="talk about a sound: make, change, undo, export; kept in a folder")
    chat.add_argument("--session", type=Path, default=Path("session"), metavar="FOLDER", help="where it is kept")
    chat.add_argument("--say", action="append", default=[], metavar="TEXT", help="say this and leave; repeatable")
    _add_length_and_planner(chat)
    studio.add_recording(chat)
    _add_rendering(chat)
    chat.set_defaults(run=studio.chat)

    demo = commands.add_parser("demo", help="the studio as a page in the browser, on this machine alone")
    demo.add_argument("--sessions", type=Path, metavar="FOLDER", help="where visitors' sessions are kept (temporary)")
    demo.add_argument("--port", type=int, default=7860)
    demo.add_argument("--open", action="store_true", help="open the browser")
    _add_planner(demo)
    _add_weights(demo)
    demo.set_defaults(run=studio.demo)

    plan = commands.add_parser("plan", help="show the plan of a request, without making sound")
    _add_planning(plan)
    plan.add_argument("--json", action="store_true", help="print JSON instead of a table")
    plan.set_defaults(run=sound.plan)

    prepare = commands.add_parser("prepare", help="encode clips once for the trainings of the video half")
    sources.add_source(prepare)
    prepare.add_argument("--output", type=Path, required=True, metavar="FOLDER", help="features: train/, validation/")
    prepare.add_argument("--weights", default="foley-mini", help="folder with the frozen parts (default foley-mini)")
    prepare.add_argument("--window", type=float, default=10.24, metavar="S", help="longest stretch (default 10.24)")
    prepare.add_argument("--num-proc", type=int, help="processes that encode (default: as cores and memory allow)")
    prepare.add_argument("--device", help="where they compute (default: a GPU where there is one, else the CPU)")
    prepare.add_argument(
        "--rank", type=int, help="which of several machines or jobs this is (default: as torchrun says)"
    )
    prepare.add_argument("--world-size", type=int, metavar="N", help="how many there are")
    prepare.set_defaults(run=weights.prepare)

    data = commands.add_parser("data", help="what there is to learn from").add_subparsers(
        required=True, metavar="ACTION"
    )
    check = data.add_parser("check", help="look through clips: lengths, silence, loudness, classes, captions")
    sources.add_source(check)
    check.add_argument("--out", type=Path, default=Path("data_check"), metavar="FOLDER", help="table, JSON and picture")
    check.add_argument("--sample", type=int, metavar="N", help="look at N clips drawn from all (default: all)")
    check.add_argument("--num-proc", type=int, default=1, help="processes that read")
    check.set_defaults(run=sources.data_check)

    fit = commands.add_parser("fit", help="train a stage from a recipe (arguments of LightningCLI)", add_help=False)
    fit.set_defaults(run=weights.fit)

    evaluate = commands.add_parser(
        "evaluate", help="run evaluation recipes, or go on with them: results.json, .md, .html"
    )
    evaluate.add_argument("recipes", type=Path, nargs="+", metavar="recipe")
    evaluate.add_argument(
        "--out", type=Path, help="folder of results and sounds (default: the recipe's); one in it for each of several"
    )
    evaluate.add_argument("--check", action="store_true", help="fail if a figure leaves its committed interval")
    evaluate.set_defaults(run=scoring.evaluate)

    scoring.add_score(commands.add_parser("score", help="judge any folder of sounds against any other"))
    scoring.add_card(commands.add_parser("card", help="bring results.json into the card of a published folder"))

    push = commands.add_parser("push", help="publish a folder to the Hub in one commit")
    push.add_argument("folder", type=Path)
    push.add_argument("repo", help="owner/name")
    push.add_argument("--private", action="store_true")
    push.add_argument("--branch", help="branch to push to, created if need be (default: main)")
    push.add_argument("--pull-request", action="store_true", help="open a pull request instead")
    push.add_argument("--dry-run", action="store_true", help="list files and sizes, send nothing")
    push.set_defaults(run=publishing.push)

    compact = commands.add_parser("compact", help="copy a published folder with its weights in half precision")
    compact.add_argument("folder", type=Path)
    compact.add_argument("out", type=Path)
    compact.set_defaults(run=publishing.compact)

    zoo = commands.add_parser("zoo", help="list published weights: parts, sizes, licences, scores")
    zoo.add_argument("folders", nargs="*", help="folders or repositories besides the bundled weights")
    zoo.set_defaults(run=publishing.zoo)

    memory = commands.add_parser("plan-memory", help="what weights or a training take, before anything is loaded")
    memory.add_argument("weights", help="name, folder or Hub repository; or a recipe of stage 1 or 2 (.yaml)")
    memory.add_argument("--nf4", action="store_true", help="of a recipe: with the frozen language model in 4 bits")
    memory.add_argument("--dtype", choices=("float32", "bfloat16"), default="float32")
    memory.add_argument("--card-gb", type=float, help="size of a GPU's memory to compare with")
    memory.set_defaults(run=publishing.plan_memory)

    quantizer = commands.add_parser(
        "import-quantizer", help="convert a public k-means file into semantic-token weights"
    )
    quantizer.add_argument("file", type=Path, help="joblib file of scikit-learn's k-means; it is read, never run")
    quantizer.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="where the weights go")
    hashes = quantizer.add_mutually_exclusive_group()
    hashes.add_argument("--sha256", metavar="HEX", help="hash the file must have (default: the public HuBERT L9 km500)")
    hashes.add_argument("--any-hash", action="store_true", help="take a file of any hash")
    quantizer.set_defaults(run=weights.import_quantizer)
    interchange.add_commands(commands)
    return parser


def _exit_code(error: Exception) -> int:
    from audio_agent_zoo.planner import PlannerError

    if isinstance(error, PlannerError):
        return PLANNER
    if isinstance(error, MediaError):
        return FILES
    return RENDER if isinstance(error, AudioAgentError) else USAGE


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; see the module's exit codes."""
    words = list(sys.argv[1:] if argv is None else argv)
    parser = _parser()
    # LightningCLI parses what follows `fit` itself.
    arguments = parser.parse_args(words[:1] if words[:1] == ["fit"] else words)
    arguments.rest = words[1:]
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        print("\ninterrupted; nothing was written.", file=sys.stderr)
        return INTERRUPTED
    except (AudioAgentError, ValueError) as error:
        print(f"audio-agent: {error}", file=sys.stderr)
        return _exit_code(error)
