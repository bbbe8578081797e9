"""`audio-agent`: the package from a terminal. Each command is a thin shell over a public class.

Exit codes: 0 done, 2 wrong usage, 3 the planner failed, 4 weights or a step failed, 5 a file could not
be read or written, 130 interrupted.
"""

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

from audio_agent_zoo import __version__
from audio_agent_zoo.errors import AudioAgentError, MediaError
from audio_agent_zoo.rates import check_duration

if TYPE_CHECKING:
    from audio_agent_zoo.pipelines.audio_agent import AudioAgentOutput
    from audio_agent_zoo.planner.plan import Plan

USAGE, PLANNER, RENDER, FILES, INTERRUPTED = 2, 3, 4, 5, 130


def _add_planning(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("text", help='what to hear, e.g. "Rain, then thunder"')
    parser.add_argument("--duration", type=float, default=10.0, metavar="S", help="length in seconds (default 10)")
    parser.add_argument(
        "--planner",
        default="auto",
        choices=("auto", "rules", "openai"),
        help="auto: the chat API where one is configured, else the offline rules",
    )


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
    generate.add_argument("--weights", default="foley-mini", help="name, folder or Hub repository (default foley-mini)")
    generate.add_argument("--revision", help="revision of a Hub repository")
    generate.add_argument("--seed", type=int, default=0)
    generate.add_argument("--steps", type=int, help="denoising steps (default: the weights' own)")
    generate.add_argument("--guidance", type=float, help="classifier-free guidance (default: the weights' own)")
    generate.add_argument("--device", default="cpu", help="cpu, cuda or mps (default cpu)")
    generate.set_defaults(run=_generate)

    plan = commands.add_parser("plan", help="show the plan of a request, without making sound")
    _add_planning(plan)
    plan.add_argument("--json", action="store_true", help="print JSON instead of a table")
    plan.set_defaults(run=_plan)

    fit = commands.add_parser("fit", help="train a stage from a recipe (arguments of LightningCLI)", add_help=False)
    fit.set_defaults(run=_fit)

    evaluate = commands.add_parser("evaluate", help="run an evaluation recipe and write results.json")
    evaluate.add_argument("recipe", type=Path)
    evaluate.add_argument("--out", type=Path, help="folder of results and sounds (default: the recipe's)")
    evaluate.set_defaults(run=_evaluate)

    push = commands.add_parser("push", help="publish a folder to the Hub in one commit")
    push.add_argument("folder", type=Path)
    push.add_argument("repo", help="owner/name")
    push.add_argument("--private", action="store_true")
    push.set_defaults(run=_push)
    return parser


def _make_plan(arguments: argparse.Namespace) -> "Plan":
    from audio_agent_zoo.planner import make_planner

    return make_planner(arguments.planner).plan(
        arguments.text, duration_s=check_duration(arguments.duration, "--duration")
    )


def _plan(arguments: argparse.Namespace) -> int:
    from audio_agent_zoo.planner import plan_table

    plan = _make_plan(arguments)
    print(plan.to_json() if arguments.json else plan_table(plan))
    return 0


def _progress_bar() -> Callable[[int, int], None]:
    from tqdm import tqdm

    bar = tqdm(desc="denoising", unit="step", file=sys.stderr)

    def advance(done: int, total: int) -> None:
        bar.total = total
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return advance


def _read_plan(path: Path) -> "Plan":
    from audio_agent_zoo.planner.plan import Plan

    try:
        return Plan.from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(
            f"{path} can't be read as a plan: {error}. Give a .plan.json that `generate` wrote."
        ) from error


def _check_writable(out: Path) -> None:
    """Fail before the work, not after it, where the result could not be written anyway."""
    if out.suffix.lower() != ".wav":
        raise ValueError(f"--out is {str(out)!r}; give a name that ends in .wav.")
    if out.is_dir():
        raise MediaError(f"{out} is a folder; give the name of a WAV file.")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        probe = out.parent / f".{out.name}.probe"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise MediaError(f"{out} can't be written: {error.strerror}. Choose another folder with --out.") from error


def _write(output: "AudioAgentOutput", out: Path, stems: bool, title: str) -> list[Path]:
    from audio_agent_zoo.app.timeline import draw_timeline
    from audio_agent_zoo.media import atomic_path, write_audio

    plan_path, picture = out.with_suffix(".plan.json"), out.with_suffix(".png")
    write_audio(out, output.audio, output.sample_rate)
    with atomic_path(plan_path) as partial:
        partial.write_text(output.plan.to_json() + "\n", encoding="utf-8")
    draw_timeline(picture, output.audio, output.sample_rate, output.plan.steps, title=title, notes=output.notes)
    written = [out, plan_path, picture]
    for step_id, stem in output.stems.items() if stems else ():
        path = out.with_name(f"{out.stem}.{step_id}.wav")
        write_audio(path, stem, output.sample_rate)
        written.append(path)
    return written


def _generate(arguments: argparse.Namespace) -> int:
    from audio_agent_zoo.planner import plan_table

    started = perf_counter()
    _check_writable(arguments.out)
    plan = _read_plan(arguments.plan) if arguments.plan else _make_plan(arguments)
    seconds = {"plan": perf_counter() - started}
    print(plan_table(plan), flush=True)

    started = perf_counter()
    from audio_agent_zoo.pipelines.audio_agent import AudioAgent

    agent = AudioAgent.from_pretrained(
        arguments.weights, planner="rules", revision=arguments.revision, device=arguments.device
    )
    seconds["load"] = perf_counter() - started
    output = agent.render(
        plan,
        seed=arguments.seed,
        num_inference_steps=arguments.steps,
        guidance_scale=arguments.guidance,
        callback=_progress_bar(),
    )
    seconds.update(output.seconds)
    started = perf_counter()
    written = _write(output, arguments.out, arguments.stems, plan.request or arguments.text)
    seconds["write"] = perf_counter() - started
    for note in output.notes:
        print(f"note: {note}")
    print(f"weights  {agent.text_to_audio.name}")
    print("seconds  " + "  ".join(f"{stage} {value:.2f}" for stage, value in seconds.items()))
    print("wrote    " + "  ".join(str(path) for path in written))
    return 0


def find_recipe(path: Path) -> Path:
    """A recipe in the working directory, or the copy that the installed package carries.

    Raises:
        ValueError: If neither exists.
    """
    package = Path(__file__).parent  # a wheel holds recipes/ inside the package, a checkout beside it
    for place in (path, package / path, package.parent / path):
        if place.is_file():
            return place
    raise ValueError(f"there is no recipe {path}; the package's own are in recipes/, listed in recipes/README.md.")


def _fit(arguments: argparse.Namespace) -> int:
    from audio_agent_zoo.training.fit import fit

    rest = list(arguments.rest)
    for i, word in enumerate(rest[:-1]):
        if word in ("--config", "-c"):
            rest[i + 1] = str(find_recipe(Path(rest[i + 1])))
    fit(rest)
    return 0


def _evaluate(arguments: argparse.Namespace) -> int:
    from audio_agent_zoo.evaluation import evaluate, results_table

    results = evaluate(find_recipe(arguments.recipe), arguments.out)
    print(results_table(results))
    return 0


def _push(arguments: argparse.Namespace) -> int:
    from audio_agent_zoo.hub import push_folder

    print(push_folder(arguments.folder, arguments.repo, private=arguments.private))
    return 0


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


if __name__ == "__main__":
    sys.exit(main())
