"""A conversation about a sound: turns over one timeline, of which only what changed is made again."""

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import asdict, replace
from functools import partial
from hashlib import sha256
from pathlib import Path
from shutil import copyfile
from threading import RLock
from time import perf_counter
from typing import Any

from audio_agent_zoo.errors import SessionError
from audio_agent_zoo.media import atomic_path, probe_video
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.planner import PlannerError
from audio_agent_zoo.planner.conversation import respond
from audio_agent_zoo.planner.plan import Plan, PlannerInfo, Step, clean_text
from audio_agent_zoo.studio.exports import Delivery, export
from audio_agent_zoo.studio.history import History
from audio_agent_zoo.studio.log import LOG_VERSION, SessionLog
from audio_agent_zoo.studio.plan_changes import difference, over_video, with_step_changed
from audio_agent_zoo.studio.provenance import without_paths
from audio_agent_zoo.studio.renders import RenderStore
from audio_agent_zoo.studio.session_export import now, project_of
from audio_agent_zoo.studio.step_sounds import Progress, RenderSettings, SessionVideo, StepSounds, Timeline
from audio_agent_zoo.studio.turn import Status, TimelineSound, Turn, sound_of

_HISTORY_TURNS = 6
_HEARD = 3


class Session:
    """Turns over one timeline, kept in a folder: `session.jsonl`, `renders/` and `media/`.

    Every turn is on the disk before it is returned, and its sounds before it. What was made once is never made
    again: moving, levels, pan, mute, removal and undo cost nothing.

    Args:
        agent: Plans and makes.
        folder: Folder of the session; made if it is missing, gone on with if it holds one.
        settings: How a new session makes its sounds; one that is there keeps its own.

    Raises:
        SessionError: If the session is open elsewhere, damaged, or was begun with other settings.
        MediaError: If the folder can't be written.
    """

    def __init__(self, agent: AudioAgent, folder: str | Path, settings: RenderSettings | None = None) -> None:
        self.agent, self.folder = agent, Path(folder)
        self._busy = RLock()  # a page calls from several threads
        self._log = SessionLog(self.folder)
        try:
            self.settings = self._settings(settings)
            self._store = RenderStore(self.folder / "renders")
            self._heard: OrderedDict[str, TimelineSound] = OrderedDict()
            self._sounds = StepSounds(agent, self._store, self.settings)
            self._history = History(self._log.records[1:], self.folder / "media", self._play)
        except BaseException:
            self._log.close()
            raise

    def _settings(self, asked: RenderSettings | None) -> RenderSettings:
        if not self._log.records:
            settings = asked or RenderSettings()
            header = {"version": LOG_VERSION, "kind": "session", "weights": self.agent.text_to_audio.name}
            self._log.append({**header, "created": now(), "settings": asdict(settings)})
            return settings
        try:
            settings = RenderSettings(**self._log.records[0]["settings"])
        except (KeyError, TypeError) as error:
            raise SessionError(f"{self._log.path} does not begin as a session's log does: {error}.") from None
        if asked is not None and asked != settings:
            raise SessionError(
                f"the session in {self.folder} was begun with {settings}, not {asked}; give another folder."
            )
        return settings

    def close(self) -> None:
        """Let others write to the folder."""
        self._log.close()

    def __enter__(self) -> "Session":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def turns(self) -> tuple[Turn, ...]:
        """Every turn, oldest first."""
        return tuple(self._history.turns)

    @property
    def head(self) -> Turn | None:
        """The turn whose timeline counts; None before there is one."""
        return self._history.head

    @property
    def plan(self) -> Plan | None:
        """The timeline that counts."""
        return None if self.head is None else self.head.plan

    @property
    def next_id(self) -> int:
        """Number of the next new step's id."""
        return self._history.next_id()

    @property
    def video(self) -> SessionVideo | None:
        """The video under the timeline."""
        return None if self.head is None else self.head.video

    def say(self, text: str, *, duration_s: float = 10.0, callback: Progress | None = None) -> Turn:
        """Ask for a sound, or for a change of what is there.

        Args:
            text: What to hear or to change, at most 4,000 characters.
            duration_s: Length of a new timeline in seconds, unless the text names one.
            callback: Progress; raise in it to stop, and nothing but finished sounds is kept.

        Returns:
            The turn. A question, a refusal or a planner that failed are turns too, and change nothing.

        Raises:
            ValueError: If the text is empty or too long.
            MediaError: If the turn or a sound can't be kept.
        """
        said = str(without_paths(clean_text(text)))
        if not said:
            raise ValueError("the request is empty; say what you want to hear, or what to change.")
        with self._busy:
            history = self._history
            planned = [turn for turn in history.line() if turn.plan is not None]
            try:
                answer = respond(
                    self.agent.planner,
                    said,
                    plan=self.plan,
                    earlier=[turn.plan for turn in history.turns if turn.made_plan and turn.plan is not None],
                    history=[(turn.user, turn.plan.to_json()) for turn in planned[-_HISTORY_TURNS:] if turn.plan],
                    recent=history.recent(),
                    next_id=history.next_id(),
                    duration_s=duration_s,
                )
            except PlannerError as error:
                return self._say_only(said, "failed", str(error))
            if answer.status != "ok":
                return self._say_only(said, answer.status, answer.reply, answer.notes)
            if answer.action in ("undo", "redo"):
                return self.undo(said) if answer.action == "undo" else self.redo(said)
            if answer.plan is None or answer.plan == self.plan:
                return self._say_only(said, "ok", answer.reply, answer.notes)
            return self._change(said, "plan", answer.plan, answer.reply, answer.notes, callback)

    def edit(self, plan: Plan | str, said: str = "edited by hand", callback: Progress | None = None) -> Turn:
        """Put a timeline edited by hand in the place of the present one.

        Args:
            plan: The plan, or its JSON.
            said: What the turn is called.
            callback: Progress.

        Raises:
            ValueError: If it is no valid plan.
            MediaError: If the turn or a sound can't be kept.
        """
        plan = Plan.from_json(plan) if isinstance(plan, str) else plan
        plan = plan.model_copy(update={"planner": PlannerInfo(name="user")})
        with self._busy:
            return self._change(said, "edit", plan, difference(self.plan, plan), (), callback)

    def change(self, step_id: str, *, callback: Progress | None = None, **values: Any) -> Turn:
        """Change fields of one step, such as `change("e2", level_lufs=-12, muted=False)`.

        Args:
            step_id: The step.
            callback: Progress.
            **values: Fields of `Step` and their new values.

        Raises:
            ValueError: If there is no such step or field, or the timeline would not be valid.
            MediaError: If the turn or a sound can't be kept.
        """
        with self._busy:
            self._step(step_id)
            new = with_step_changed(self._needs_plan(), step_id, values)
            said = f"{step_id}: " + ", ".join(f"{name} = {value}" for name, value in values.items())
            return self.edit(new, said, callback)

    def retake(self, step_id: str, take: int | None = None, callback: Progress | None = None) -> Turn:
        """Another take of a step, or one that was made before.

        Args:
            step_id: The step.
            take: Number of a take; None for a new one.
            callback: Progress.

        Raises:
            ValueError: If there is no such step.
            MediaError: If the turn or a sound can't be kept.
        """
        with self._busy:
            self._step(step_id)
            number = max(self.takes(step_id)) + 1 if take is None else take
            return self.change(step_id, take=number, callback=callback)

    def takes(self, step_id: str) -> list[int]:
        """Takes of a step that this session has heard."""
        steps = (step for turn in self.turns if turn.plan is not None for step in turn.plan.steps)
        return sorted({step.take for step in steps if step.id == step_id})

    def undo(self, said: str = "undo") -> Turn:
        """Go back to the timeline before; what was undone stays within reach of redo."""
        with self._busy:
            head = self.head
            if head is None:
                return self._say_only(said, "ask", "There is nothing to undo. What do you want to hear?")
            before = head.parent
            reply = f"Undone: {head.user!r}." + ("" if before is not None else " The timeline is empty.")
            return self._move(said, "undo", before, reply)

    def redo(self, said: str = "redo") -> Turn:
        """Go forward again to what was undone last."""
        with self._busy:
            after = self._history.after()
            if after is None:
                return self._say_only(said, "ask", "There is nothing to redo. What do you want to change?")
            return self._move(said, "redo", after.number, f"Redone: {after.user!r}.")

    def go_to(self, number: int) -> Turn:
        """Take up the timeline of an earlier turn; later ones stay within reach.

        Raises:
            ValueError: If that turn made no timeline.
        """
        with self._busy:
            if number not in self._history.nodes:
                known = ", ".join(str(one) for one in self._history.nodes) or "none yet"
                raise ValueError(f"turn {number} made no timeline; choose among: {known}.")
            return self._move(f"go to turn {number}", "go_to", number, f"The timeline of turn {number} counts again.")

    def attach_video(self, path: str | Path, caption: str | None = None, *, callback: Progress | None = None) -> Turn:
        """Put a video under the timeline, its sound as a step; the timeline gets the video's length.

        Args:
            path: Video file; a copy of it is kept with the session.
            caption: What the picture sounds like.
            callback: Progress.

        Raises:
            MediaError: If the video can't be read or kept.
            ValueError: If it is longer than a timeline can be, or steps reach beyond its end.
            WeightsError: If the weights have no video half.
        """
        info = probe_video(path)
        with self._busy:
            digest = sha256(Path(path).read_bytes()).hexdigest()
            kept = self.folder / "media" / f"{digest[:16]}{Path(path).suffix.lower()}"
            if not kept.exists():
                with atomic_path(kept) as partial:
                    copyfile(path, partial)
            video = SessionVideo(kept, digest, info.duration_s)
            plan, own = over_video(self.plan, video.duration_s, caption, self._history.next_id())
            reply = f"{own.id} is the sound of {Path(path).name}, {plan.duration_s:.2f} s."
            return self._change(f"video: {Path(path).name}", "video", plan, reply, (), callback, video)

    def cost(self, plan: Plan) -> dict[str, int]:
        """Step id -> images that would be made for a plan; {} if it costs no more than a mix."""
        return self._sounds.missing(self._timeline(plan, self.video))

    def export(
        self, folder: str | Path, formats: Collection[str] | None = None, delivery: Delivery | None = None
    ) -> list[Path]:
        """Write the timeline that counts: see `studio.exports.export`.

        Raises:
            ValueError: If there is no timeline yet, or a format is unknown.
            MediaError: If a file can't be written.
        """
        base = self.agent.text_to_audio
        plan = self._needs_plan()
        project = project_of(
            plan,
            self._play(self._timeline(plan, self.video)),
            self.settings,
            base.name,
            base.parts.license,
            self.video,
        )
        return export(project, folder, formats=formats, delivery=delivery)

    def free_space(self) -> int:
        """Remove sounds that no turn is heard from; returns the bytes that were freed."""
        with self._busy:
            kept = {
                key
                for turn in self._history.nodes.values()
                if turn.timeline is not None
                for key in self._sounds.keys(turn.timeline)
            }
            return self._store.keep_only(kept)

    def _needs_plan(self) -> Plan:
        if self.plan is None:
            raise ValueError("the session has no timeline yet; say what you want to hear first.")
        return self.plan

    def _step(self, step_id: str) -> Step:
        plan = self._needs_plan()
        for step in plan.steps:
            if step.id == step_id:
                return step
        raise ValueError(f"there is no step {step_id}; the timeline has {', '.join(s.id for s in plan.steps)}.")

    def _timeline(self, plan: Plan, video: SessionVideo | None) -> Timeline:
        """A plan whose steps keep the windows they were heard from."""
        texts = [step for step in plan.steps if step.source == "text"]
        return Timeline(plan, video, {step.id: self._sounds.widths(step, self._history.widths(step)) for step in texts})

    def _play(self, timeline: Timeline) -> TimelineSound:
        with self._busy:
            return self._made(timeline, None)[0]

    def _made(self, timeline: Timeline, callback: Progress | None) -> tuple[TimelineSound, dict[str, str]]:
        """The sound of a timeline, and what could not be made; the last few stay in memory."""
        plan, video = timeline.plan, timeline.video
        key = f"{plan.digest} {video and video.sha256} {sorted(timeline.widths.items())}"
        if key not in self._heard:
            renders, failed = self._sounds.make(timeline, callback)
            sound = sound_of(plan, renders, failed)
            if failed:  # worth another try
                return sound, failed
            self._heard[key] = sound
            if len(self._heard) > _HEARD:
                self._heard.popitem(last=False)
        self._heard.move_to_end(key)
        return self._heard[key], {}

    def _change(
        self,
        said: str,
        action: str,
        plan: Plan,
        reply: str,
        notes: tuple[str, ...],
        callback: Progress | None,
        video: SessionVideo | None = None,
    ) -> Turn:
        """Make what a new timeline lacks, then write the turn."""
        started = perf_counter()
        timeline = self._timeline(plan, video or self.video)
        missing = self._sounds.missing(timeline)
        sound, failed = self._made(timeline, callback)
        number = len(self._history.turns) + 1
        turn = Turn(
            number=number,
            user=said,
            status="ok",
            action=action,
            reply=reply,
            plan=plan,
            notes=tuple(dict.fromkeys((*plan.notes, *notes, *sound.notes))),
            kept=tuple(step.id for step in plan.steps if step.id in sound.renders and step.id not in missing),
            regenerated=tuple(step.id for step in plan.steps if step.id in missing and step.id not in failed),
            windows=sum(count for name, count in missing.items() if name not in failed),
            failed=failed,
            parent=None if self.head is None else self.head.number,
            head=number,
            video=timeline.video,
            widths=dict(timeline.widths),
            seconds=perf_counter() - started,
            at=now(),
            play=partial(self._play, timeline),
        )
        return self._keep(turn)

    def _move(self, said: str, action: str, to: int | None, reply: str) -> Turn:
        """Write that the timeline of another turn counts, or none."""
        return self._without_change(said, "ok", action, reply, (), None if to is None else self._history.nodes[to])

    def _say_only(self, said: str, status: Status, reply: str, notes: tuple[str, ...] = ()) -> Turn:
        """Write what was said, where it changed nothing."""
        return self._without_change(said, status, "none", reply, notes, self.head)

    def _without_change(
        self, said: str, status: Status, action: str, reply: str, notes: tuple[str, ...], head: Turn | None
    ) -> Turn:
        turn = Turn(len(self._history.turns) + 1, said, status, action, reply, notes=notes, at=now())
        if head is not None:
            turn = replace(turn, head=head.number, plan=head.plan, video=head.video, widths=head.widths, play=head.play)
        return self._keep(turn)

    def _keep(self, turn: Turn) -> Turn:
        self._log.append(without_paths(turn.record()))
        self._history.add(turn)
        return turn
