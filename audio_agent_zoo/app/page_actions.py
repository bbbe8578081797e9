"""What the page's buttons do to a visitor's session, and what there is to show afterwards."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from audio_agent_zoo.app.page_views import card, measured, picture, plan_of_table, playable, table_rows, words
from audio_agent_zoo.app.visitors import Cancelled, Visitor, Visitors
from audio_agent_zoo.errors import AudioAgentError
from audio_agent_zoo.media import probe_video
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.planner.chat_planner import ChatPlanner
from audio_agent_zoo.studio.master import LOUDNESS_PROFILES, Delivery
from audio_agent_zoo.studio.session import Session
from audio_agent_zoo.studio.turn import Turn


@dataclass(frozen=True)
class PageSettings:
    """How the page is served.

    Attributes:
        folder: Where visitors' sessions are kept; a temporary folder when None.
        port: TCP port.
        open_browser: Open it in the browser of this machine.
        most_visitors: Sessions open at once.
        longest_video_s: Longest video that may be uploaded, in seconds.
        largest_upload: Largest file, as Gradio writes sizes.
        longest_queue: Requests that may wait; more are turned away.
    """

    folder: Path | None = None
    port: int = 7860
    open_browser: bool = False
    most_visitors: int = 32
    longest_video_s: float = 60.0
    largest_upload: str = "200mb"
    longest_queue: int = 32


class Page:
    """The page's handlers: each takes what the visitor did to their session and returns what to show.

    Args:
        agent: Plans and makes, for all visitors.
        visitors: Their sessions.
        settings: Limits.
    """

    def __init__(self, agent: AudioAgent, visitors: Visitors, settings: PageSettings) -> None:
        self.agent, self.visitors, self.settings = agent, visitors, settings
        # One thread draws for all: on many, each keeps memory of its own for pictures.
        self._drawing = ThreadPoolExecutor(1, "drawing")

    def _visitor(self, request: gr.Request) -> Visitor:
        return self.visitors.get(request.session_hash)

    def about(self) -> str:
        """Planner, weights and device in use."""
        base, planner = self.agent.text_to_audio, self.agent.planner
        by = planner.model if isinstance(planner, ChatPlanner) else "rules for English, offline"
        return f"planner: {by} · weights: {base.name} · {base.device}"

    def shown(self, visitor: Visitor, chat: list[Any], said: str = "") -> dict[str, Any]:
        """Everything the page shows of a session, by the name of the component."""
        session = visitor.session
        turn = session.turns[-1] if session.turns else None
        plan, sound = session.plan, None if turn is None else turn.sound
        steps = [] if plan is None else [(f"{step.id}  {step.prompt}", step.id) for step in plan.steps]
        if visitor.step not in [name for _, name in steps]:
            visitor.step = steps[0][1] if steps else None
        return {
            "chat": chat,
            "audio": None if sound is None else playable(sound.audio, sound.sample_rate),
            "picture": None if turn is None else self._drawing.submit(picture, session, turn).result(),
            "table": table_rows(plan),
            "step": gr.Dropdown(choices=steps, value=visitor.step),
            "take": _takes(session, visitor.step),
            "json": "" if plan is None else plan.to_json(),
            "status": said or ("" if turn is None else measured(turn)),
        }

    def acting(
        self,
        visitor: Visitor,
        chat: list[Any],
        said: str,
        act: Callable[[Callable[[str, int, int], None]], Turn],
        progress: gr.Progress,
    ) -> dict[str, Any]:
        """Do something that may take time; what goes wrong becomes an answer in the chat."""

        def advance(stage: str, done: int, total: int) -> None:
            visitor.check()
            progress((done, total), desc=stage)

        visitor.begin()
        visitor.is_busy = True
        chat = [*chat, {"role": "user", "content": said}]
        try:
            act(advance)
        except Cancelled:
            answer = "Stopped. Finished sounds are kept, the timeline is as it was."
            return self.shown(visitor, [*chat, {"role": "assistant", "content": answer}], "stopped")
        except (AudioAgentError, ValueError) as error:
            return self.shown(visitor, [*chat, {"role": "assistant", "content": str(error)}], "nothing was changed")
        finally:
            visitor.is_busy = False
        return self.shown(visitor, [*chat, *_answer(visitor.session)])

    def say(
        self, text: str, chat: list[Any], seconds: float, request: gr.Request, progress: gr.Progress
    ) -> dict[str, Any]:
        """A request in words."""
        visitor = self._visitor(request)
        return self.acting(
            visitor,
            chat,
            text,
            lambda advance: visitor.session.say(text, duration_s=float(seconds), callback=advance),
            progress,
        )

    def back(self, chat: list[Any], forward: bool, request: gr.Request) -> dict[str, Any]:
        """Undo or redo."""
        visitor = self._visitor(request)
        turn = visitor.session.redo() if forward else visitor.session.undo()
        said = {"role": "user", "content": turn.user}
        return self.shown(visitor, [*chat, said, *_answer(visitor.session)])

    def cost(self, rows: list[list[Any]], request: gr.Request) -> str:
        """What applying the table would make, before it is made."""
        session = self._visitor(request).session
        try:
            cost = session.cost(plan_of_table(rows, session.plan, session.next_id))
        except (AudioAgentError, ValueError) as error:
            return str(error)
        return f"applying makes {', '.join(cost)}" if cost else "applying costs no generation"

    def apply(
        self, rows: list[list[Any]], chat: list[Any], request: gr.Request, progress: gr.Progress
    ) -> dict[str, Any]:
        """Take the table as the timeline."""
        visitor = self._visitor(request)
        session = visitor.session
        return self.acting(
            visitor,
            chat,
            "(table edited)",
            lambda advance: session.edit(
                plan_of_table(rows, session.plan, session.next_id), "table edited", callback=advance
            ),
            progress,
        )

    def apply_json(self, text: str, chat: list[Any], request: gr.Request, progress: gr.Progress) -> dict[str, Any]:
        """Take the JSON of a plan as the timeline."""
        visitor = self._visitor(request)
        return self.acting(
            visitor,
            chat,
            "(plan edited as JSON)",
            lambda advance: visitor.session.edit(text, "plan edited as JSON", callback=advance),
            progress,
        )

    def choose(self, step: str | None, request: gr.Request) -> gr.Radio:
        """Another step to listen to and to take again; its takes."""
        visitor = self._visitor(request)
        visitor.step = step
        return _takes(visitor.session, step)

    def take(
        self, step: str | None, number: int | None, chat: list[Any], request: gr.Request, progress: gr.Progress
    ) -> dict[str, Any]:
        """Another take of a step, or one that was heard before."""
        visitor = self._visitor(request)
        visitor.step = step
        return self.acting(
            visitor,
            chat,
            f"another take of {step}" if number is None else f"take {number} of {step}",
            lambda advance: visitor.session.retake(step or "", number, callback=advance),
            progress,
        )

    def stem(self, step: str | None, request: gr.Request) -> Any:
        """One step alone."""
        session = self._visitor(request).session
        sound = None if session.head is None else session.head.sound
        if sound is None or step not in sound.stems:
            return None
        return playable(sound.stems[str(step)], sound.sample_rate)

    def video(
        self, path: str | None, caption: str, chat: list[Any], request: gr.Request, progress: gr.Progress
    ) -> dict[str, Any]:
        """Put an uploaded video under the timeline."""
        visitor = self._visitor(request)

        def act(advance: Callable[[str, int, int], None]) -> Turn:
            if path is None:
                raise ValueError("choose a video first.")
            info, most = probe_video(path), self.settings.longest_video_s
            if info.duration_s > most:
                raise ValueError(f"the video lasts {info.duration_s:.0f} s; at most {most:g} s are accepted here.")
            return visitor.session.attach_video(path, caption, callback=advance)

        return self.acting(visitor, chat, f"(video) {caption or Path(path or '').name}".strip(), act, progress)

    def watch(self, request: gr.Request) -> str | None:
        """The video with the sound as it is now."""
        session = self._visitor(request).session
        if session.video is None or session.plan is None:
            return None
        with TemporaryDirectory() as folder:
            session.export(folder, ("video",))
            kept = session.folder / "dub.mp4"
            (Path(folder) / "dub.mp4").replace(kept)
        return str(kept)

    def export(
        self, formats: list[str], loudness: str, bits: str, rate: str, request: gr.Request
    ) -> tuple[str | None, str]:
        """Everything asked for as one zip, and what to say about it."""
        session = self._visitor(request).session
        delivery = Delivery(bits=bits, sample_rate=int(rate), loudness_lufs=LOUDNESS_PROFILES[loudness])  # type: ignore[arg-type]  # a choice of the page
        try:
            paths = session.export(session.folder / "export", {*formats, "zip"}, delivery)
        except (AudioAgentError, ValueError, ImportError) as error:
            return None, str(error)
        return str(paths[-1]), f"{len(paths) - 1} files"


def _answer(session: Session) -> Iterator[dict[str, Any]]:
    turn, before = session.turns[-1], session.turns[-2] if len(session.turns) > 1 else None
    yield {"role": "assistant", "content": words(turn, before)}
    if turn.made_plan:
        yield {"role": "assistant", "content": gr.HTML(card(turn))}


def _takes(session: Session, step: str | None) -> gr.Radio:
    """The takes of a step that were heard, the present one marked."""
    now = None if session.plan is None else next((one.take for one in session.plan.steps if one.id == step), None)
    takes = [] if now is None else session.takes(str(step))
    return gr.Radio(choices=[(f"take {take}", take) for take in takes], value=now)
