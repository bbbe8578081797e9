"""Commands of the studio: chat in the terminal, demo in the browser."""

import argparse
import shlex
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from audio_agent_zoo.errors import AudioAgentError, MediaError

if TYPE_CHECKING:
    from audio_agent_zoo.pipelines.audio_agent import AudioAgent
    from audio_agent_zoo.planner import Planner
    from audio_agent_zoo.studio.session import Session
    from audio_agent_zoo.studio.turn import Turn

_HELP = """Say what you want to hear, then what to change: "add a dog barking at 3 seconds", "make the rain quieter".
/plan          the timeline                 /undo  /redo       back and forth
/take e2       another take of a step       /take e2 0         take 0 again, to compare
/turns         what was said so far         /go 3              take up the timeline of turn 3
/edit FILE     a plan edited by hand        /video FILE TEXT   put a video under the timeline
/export FOLDER master, stems, projects      /quit              leave; everything is kept"""


def add_recording(parser: argparse.ArgumentParser) -> None:
    """Arguments that keep a chat planner's answers, or plan from kept ones."""
    either = parser.add_mutually_exclusive_group()
    either.add_argument("--record", type=Path, metavar="FILE", help="keep every answer of the chat API in a file")
    either.add_argument("--replay", type=Path, metavar="FILE", help="plan from such a file, without the chat API")


def _agent(arguments: argparse.Namespace, planner: "str | Planner") -> "AudioAgent":
    from audio_agent_zoo.pipelines.audio_agent import AudioAgent

    return AudioAgent.from_pretrained(
        arguments.weights, planner=planner, revision=arguments.revision, device=arguments.device
    )


def _planner(arguments: argparse.Namespace) -> "str | Planner":
    """The planner of a chat, recorded or replayed where that is asked for."""
    from audio_agent_zoo.planner import make_planner
    from audio_agent_zoo.planner.openai_planner import OpenAIPlanner
    from audio_agent_zoo.planner.recorded_planner import RecordedPlanner

    if arguments.replay is not None:
        return RecordedPlanner(arguments.replay)
    planner = make_planner(arguments.planner)
    if arguments.record is None:
        return planner
    if not isinstance(planner, OpenAIPlanner):
        raise ValueError("--record keeps the answers of a chat API; the rules always answer alike. Leave it out.")
    return OpenAIPlanner(record=arguments.record)


def _lines(given: list[str]) -> Iterator[str]:
    """What was given on the command line, or what is typed until the end of the input."""
    if given:
        yield from given
        return
    if sys.stdin.isatty():
        print(f"{_HELP}\n/help shows this again.\n")
    while True:
        try:
            yield input("> " if sys.stdin.isatty() else "")
        except EOFError:
            return


def chat(arguments: argparse.Namespace) -> int:
    """Talk about a sound until it is right."""
    from audio_agent_zoo.cli import PLANNER
    from audio_agent_zoo.studio.step_sounds import RenderSettings

    settings = RenderSettings(
        seed=arguments.seed, num_inference_steps=arguments.steps, guidance_scale=arguments.guidance
    )
    folder = arguments.session
    asked = None if (folder / "session.jsonl").exists() else settings
    with _agent(arguments, _planner(arguments)).session(folder, asked) as session:
        if session.turns:
            print(f"{folder}: {len(session.turns)} turns so far.")
        for line in _lines(arguments.say):
            if line.strip() in ("/quit", "/exit"):
                break
            try:
                _answer(session, line.strip(), arguments.duration)
            except (AudioAgentError, ValueError) as error:
                print(f"audio-agent: {error}", file=sys.stderr)
                if arguments.say:
                    raise
            except KeyboardInterrupt:
                print("\nstopped; finished sounds are kept, the timeline is as it was.")
        failed = bool(arguments.say) and bool(session.turns) and session.turns[-1].status == "failed"
    return PLANNER if failed else 0


def _answer(session: "Session", line: str, duration_s: float) -> None:
    from audio_agent_zoo.planner import plan_table

    word, _, rest = line.partition(" ")
    if not line:
        return
    if word == "/help":
        print(_HELP)
    elif word == "/plan":
        print(plan_table(session.plan) if session.plan else "There is no timeline yet.")
    elif word == "/turns":
        for turn in session.turns:
            print(f"{turn.number:>3}  {turn.user}  [{turn.status}]  {turn.reply}")
    elif word == "/export":
        for path in session.export(Path(rest or "export").expanduser(), ("master", "stems", "reaper", "cue_sheet")):
            print(path)
    elif word == "/video":
        file, *caption = shlex.split(rest) or [""]
        _show(session, session.attach_video(file, " ".join(caption) or None, callback=_progress))
    elif word == "/take":
        step, _, take = rest.strip().partition(" ")
        _show(session, session.retake(step, int(take) if take.isdigit() else None, callback=_progress))
    elif word == "/edit":
        _show(session, session.edit(_text_of(Path(rest).expanduser()), callback=_progress))
    elif word == "/go":
        _show(session, session.go_to(int(rest) if rest.strip().isdigit() else 0))
    elif word in ("/undo", "/redo"):
        _show(session, session.undo() if word == "/undo" else session.redo())
    elif word.startswith("/"):
        raise ValueError(f"there is no command {word}; /help lists them.")
    else:
        _show(session, session.say(line, duration_s=duration_s, callback=_progress))


def _text_of(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise MediaError(f"{path} can't be read as text: {error}. Give the JSON of a plan.") from error


def _progress(stage: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{stage} {done}/{total} ", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _show(session: "Session", turn: "Turn") -> None:
    """Print a turn, and write what it sounds like beside the log."""
    from audio_agent_zoo.app.page_views import lanes
    from audio_agent_zoo.app.timeline import draw_timeline
    from audio_agent_zoo.media import atomic_path, write_audio
    from audio_agent_zoo.planner import plan_table

    print(turn.reply)
    sound = turn.sound if turn.status == "ok" and turn.action != "none" else None
    if sound is None or turn.plan is None:
        _print_notes(turn.notes)
        return
    print(plan_table(turn.plan))
    before = session.turns[-2].notes if len(session.turns) > 1 else ()
    _print_notes([note for note in turn.notes if note not in (*turn.plan.notes, *before)])
    if turn.made_plan:
        made, kept = ", ".join(turn.regenerated) or "nothing", ", ".join(turn.kept) or "nothing"
        print(f"made     {made}   kept {kept}   {turn.seconds:.1f} s")
    mix, picture, plan = (session.folder / name for name in ("mix.wav", "mix.png", "plan.json"))
    write_audio(mix, sound.audio, sound.sample_rate)
    draw_timeline(picture, sound.audio, sound.sample_rate, lanes(turn.plan), title=turn.user, notes=turn.notes)
    with atomic_path(plan) as partial:
        partial.write_text(turn.plan.to_json() + "\n", encoding="utf-8")
    print(f"wrote    {mix}  {picture.name}  {plan.name}")


def _print_notes(notes: Iterable[str]) -> None:
    for note in notes:
        print(f"note: {note}")


def demo(arguments: argparse.Namespace) -> int:
    """Serve the page on this machine."""
    try:
        from audio_agent_zoo.app.page import serve
        from audio_agent_zoo.app.page_actions import PageSettings
    except ModuleNotFoundError as error:
        raise ValueError(f"the page needs {error.name}; install it with: pip install 'audio-agent-zoo[app]'") from None

    serve(
        _agent(arguments, arguments.planner),
        PageSettings(folder=arguments.sessions, port=arguments.port, open_browser=arguments.open),
    )
    return 0
