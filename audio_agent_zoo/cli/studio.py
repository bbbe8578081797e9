"""Commands of the studio: chat in the terminal, demo in the browser."""

import argparse
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from audio_agent_zoo.errors import AudioAgentError

if TYPE_CHECKING:
    from audio_agent_zoo.pipelines.audio_agent import AudioAgent
    from audio_agent_zoo.studio.session import Session
    from audio_agent_zoo.studio.turn import Turn

_HELP = """Say what you want to hear, then what to change: "add a dog barking at 3 seconds", "make the rain quieter".
/plan          the timeline                 /undo  /redo       back and forth
/take e2       another take of a step       /video FILE TEXT   put a video under the timeline
/turns         what was said so far         /go 3              take up the timeline of turn 3
/export FOLDER master, stems, projects      /quit              leave; everything is kept"""


def _agent(arguments: argparse.Namespace) -> "AudioAgent":
    from audio_agent_zoo.pipelines.audio_agent import AudioAgent

    return AudioAgent.from_pretrained(
        arguments.weights, planner=arguments.planner, revision=arguments.revision, device=arguments.device
    )


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
    from audio_agent_zoo.studio.step_sounds import RenderSettings

    settings = RenderSettings(
        seed=arguments.seed, num_inference_steps=arguments.steps, guidance_scale=arguments.guidance
    )
    folder = arguments.session
    asked = None if (folder / "session.jsonl").exists() else settings
    with _agent(arguments).session(folder, asked) as session:
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
    return 0


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
        _show(session, session.retake(rest.strip(), callback=_progress))
    elif word == "/go":
        _show(session, session.go_to(int(rest) if rest.strip().isdigit() else 0))
    elif word in ("/undo", "/redo"):
        _show(session, session.undo() if word == "/undo" else session.redo())
    elif word.startswith("/"):
        raise ValueError(f"there is no command {word}; /help lists them.")
    else:
        _show(session, session.say(line, duration_s=duration_s, callback=_progress))


def _progress(stage: str, done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{stage} {done}/{total} ", end="" if done < total else "\n", file=sys.stderr, flush=True)


def _show(session: "Session", turn: "Turn") -> None:
    """Print a turn, and write what it sounds like beside the log."""
    from audio_agent_zoo.app.timeline import draw_timeline
    from audio_agent_zoo.media import write_audio
    from audio_agent_zoo.planner import plan_table

    print(turn.reply)
    for note in turn.notes:
        print(f"note: {note}")
    sound = turn.sound if turn.status == "ok" and turn.action != "none" else None
    if sound is None or turn.plan is None:
        return
    print(plan_table(turn.plan))
    made, kept = ", ".join(turn.regenerated) or "nothing", ", ".join(turn.kept) or "nothing"
    if turn.made_plan:
        print(f"made     {made}   kept {kept}   {turn.seconds:.1f} s")
    mix, picture = session.folder / "mix.wav", session.folder / "mix.png"
    write_audio(mix, sound.audio, sound.sample_rate)
    draw_timeline(picture, sound.audio, sound.sample_rate, turn.plan.steps, title=turn.user, notes=turn.notes)
    print(f"wrote    {mix}  {picture}")


def demo(arguments: argparse.Namespace) -> int:
    """Serve the page on this machine."""
    try:
        from audio_agent_zoo.app.page import serve
        from audio_agent_zoo.app.page_actions import PageSettings
    except ModuleNotFoundError as error:
        raise ValueError(f"the page needs {error.name}; install it with: pip install 'audio-agent-zoo[app]'") from None

    serve(_agent(arguments), PageSettings(folder=arguments.sessions, port=arguments.port, open_browser=arguments.open))
    return 0
