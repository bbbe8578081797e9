"""The files of one export: sounds one after the other, then the texts that point at them."""

import json
import math
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.media import atomic_path, mux, probe_video, write_audio
from audio_agent_zoo.planner.plan import Step, clean_text
from audio_agent_zoo.rates import n_samples
from audio_agent_zoo.studio.aaf import write_aaf
from audio_agent_zoo.studio.cue_sheet import cue_sheet
from audio_agent_zoo.studio.export_folder import REPORT, checksums
from audio_agent_zoo.studio.export_project import ExportProject
from audio_agent_zoo.studio.master import Delivery, Master, at_rate, make_master, on_24_bit_grid
from audio_agent_zoo.studio.otio import otio_timeline
from audio_agent_zoo.studio.provenance import provenance_record, without_paths
from audio_agent_zoo.studio.reaper import reaper_project
from audio_agent_zoo.studio.timeline_items import Item, item_of_render, item_of_stem, unmuted_stem

Audio = NDArray[np.float32]

_TIMELINES = {"reaper", "otio", "aaf"}


class Bundle:
    """The files of one export, written to a folder that nobody sees yet.

    Args:
        project: A checked project.
        wanted: Formats asked for.
        delivery: Sample format, rate, loudness and timecode.
        folder: Empty folder to write to.
    """

    def __init__(self, project: ExportProject, wanted: frozenset[str], delivery: Delivery, folder: Path) -> None:
        self.project, self.wanted, self.delivery, self.folder = project, wanted, delivery, folder
        self.given = without_paths(dict(project.provenance))
        self.notes: list[str] = []
        self.length = n_samples(project.plan.duration_s, delivery.sample_rate)
        info = probe_video(project.video) if project.video is not None else None
        self.frame_rate = delivery.frame_rate or (info.fps if info else 25.0)
        self.video_duration_s = info.duration_s if info else 0.0

    def write(self) -> None:
        """Write every file but the zip."""
        plan, delivery = self.project.plan, self.delivery
        items, files, summed = self._write_steps()
        finished = at_rate(self.project.audio, self.project.sample_rate, delivery.sample_rate, self.length)
        master = make_master(finished, summed if self.project.stems else finished, delivery)
        self.notes += master.notes
        if "master" in self.wanted:
            write_audio(
                self.folder / f"mix{delivery.suffix}", master.audio, delivery.sample_rate, subtype=delivery.subtype
            )
        video_file = None
        if "video" in self.wanted and self.project.video is not None:
            video_file = "dub.mp4"
            mux(self.project.video, master.audio, delivery.sample_rate, self.folder / video_file)
        self._write_timelines(items, video_file)
        if "cue_sheet" in self.wanted:
            text = cue_sheet(
                plan,
                files=files,
                seeds=self.given.get("seeds", {}),
                model=self.given.get("weights", ""),
                license=self.given.get("license", ""),
                frame_rate=self.frame_rate,
                start_hour=delivery.start_hour,
            )
            self._write_text("cues.csv", "\ufeff" + text)  # the mark by which Excel knows UTF-8
        self._write_text("plan.json", plan.to_json() + "\n")
        self._write_json("provenance.json", provenance_record(plan, self.given))
        self._write_json(REPORT, self._report(master, items))

    def _write_steps(self) -> tuple[list[Item], dict[str, str], NDArray[np.float64]]:
        """Write stems and handles one at a time; their items, the file of each step, and the sum of the stems."""
        project, rate = self.project, self.delivery.sample_rate
        summed = np.zeros((self.length, *project.audio.shape[1:]))
        items: list[Item] = []
        files: dict[str, str] = {}
        for number, step in enumerate(project.plan.steps, 1):
            name = _file_name(number, step)
            stem = project.stems.get(step.id)
            item = self._handle_item(step)
            needs_stem = "stems" in self.wanted or (item is None and bool(self.wanted & _TIMELINES))
            if stem is not None:
                delivered = on_24_bit_grid(at_rate(stem, project.sample_rate, rate, self.length))
                summed += delivered
                if needs_stem:
                    files[step.id] = self._write_stem(f"stems/{name}", delivered, step)
                if item is None:
                    whole = item_of_stem(step, stem, project.sample_rate).at_rate(rate)
                    items.append(replace(whole, file=files.get(step.id, ""), file_length=self.length))
            if step.id in project.renders and ("handles" in self.wanted or (item and self.wanted & _TIMELINES)):
                file, scale = self._write_handle(f"handles/{name}", project.renders[step.id])
                files.setdefault(step.id, file)
                if item is not None:
                    items.append(replace(item.at_rate(rate), file=file, level=item.level * scale))
        return items, files, summed

    def _handle_item(self, step: Step) -> Item | None:
        """The item over a step's render, if that sounds as its stem does."""
        project = self.project
        render = project.renders.get(step.id)
        if render is None:
            return None
        rate = project.sample_rate
        offset = n_samples(project.source_offsets_s.get(step.id, 0.0), rate)
        stem = project.stems.get(step.id)
        if step.muted and 0 <= offset < len(render):
            stem = unmuted_stem(
                step, render, offset, project.plan.duration_s, rate, 1 if project.audio.ndim == 1 else 2
            )
        item = item_of_render(step, stem, render, offset, rate)
        if item is None and self.wanted & _TIMELINES:
            self.notes.append(f"{step.id} lies on the timelines as a finished stem: its render does not rebuild it.")
        return item

    def _write_stem(self, name: str, audio: Audio, step: Step) -> str:
        """Write a stem; beyond full scale, which PCM can't hold, as float."""
        delivery = self.delivery
        file, subtype = name + delivery.suffix, delivery.subtype
        if subtype != "FLOAT" and np.max(np.abs(audio), initial=0.0) > 1.0:
            file, subtype = f"{name}.wav", "FLOAT"
            self.notes.append(f"The stem of {step.id} goes beyond full scale; it was written as 32-bit float WAV.")
        write_audio(self.folder / file, audio, delivery.sample_rate, subtype=subtype)
        return file

    def _write_handle(self, name: str, render: Audio) -> tuple[str, float]:
        """Write a render, lowered to full scale where it is beyond; its name, and the factor that undoes this."""
        delivery, source_rate = self.delivery, self.project.sample_rate
        length = round(len(render) * delivery.sample_rate / source_rate)
        audio = at_rate(render, source_rate, delivery.sample_rate, length)
        scale = max(1.0, float(np.max(np.abs(audio), initial=0.0)))
        file = name + delivery.suffix
        lowered = (audio / scale).clip(-1, 1).astype(np.float32)
        write_audio(self.folder / file, lowered, delivery.sample_rate, subtype=delivery.subtype)
        return file, scale

    def _write_timelines(self, items: list[Item], video_file: str | None) -> None:
        plan, delivery = self.project.plan, self.delivery
        picture: dict[str, Any] = {"video_file": video_file, "video_duration_s": self.video_duration_s}
        if "reaper" in self.wanted:
            text = reaper_project(
                items,
                project_id=plan.digest,
                sample_rate=delivery.sample_rate,
                start_hour=delivery.start_hour,
                **picture,
            )
            self._write_text("project.rpp", text)
        if "otio" in self.wanted:
            text = otio_timeline(
                items,
                plan,
                sample_rate=delivery.sample_rate,
                frame_rate=self.frame_rate,
                start_hour=delivery.start_hour,
                **picture,
            )
            self._write_text("timeline.otio", text)
        if "aaf" in self.wanted:
            title = clean_text(plan.request)[:80] or "timeline"
            path = self.folder / "timeline.aaf"
            write_aaf(path, items, title=title, frame_rate=self.frame_rate, start_hour=delivery.start_hour)

    def _report(self, master: Master, items: list[Item]) -> dict[str, Any]:
        delivery = self.delivery
        return {
            "duration_s": self.length / delivery.sample_rate,
            "samples": self.length,
            "sample_rate": delivery.sample_rate,
            "channels": 1 if self.project.audio.ndim == 1 else 2,
            "bits": delivery.bits,
            "frame_rate": self.frame_rate,
            "master": {
                "target_lufs": master.target_lufs,
                "loudness_lufs": _finite(master.loudness_lufs),
                "ceiling_dbtp": delivery.ceiling_dbtp,
                "true_peak_dbtp": _finite(master.true_peak_dbtp),
                "gain_db": round(master.gain_db, 3),
                "limiter_gain_db": round(master.limiter_gain_db, 3),
            },
            "items": [
                {
                    "id": item.step.id,
                    "file": item.file,
                    "start_s": item.start / item.sample_rate,
                    "length_s": item.length / item.sample_rate,
                    "source_offset_s": item.source_offset / item.sample_rate,
                    "level_db": round(item.level_db, 3),
                    "pan": item.pan,
                    "fade_in_s": item.fade_in / item.sample_rate,
                    "fade_out_s": item.fade_out / item.sample_rate,
                    "is_finished_stem": item.is_stem,
                    "muted": item.step.muted,
                }
                for item in items
                if item.file
            ],
            "notes": list(dict.fromkeys(self.notes)),
            "files": checksums(self.folder),
        }

    def _write_text(self, name: str, text: str) -> None:
        with atomic_path(self.folder / name) as partial:
            partial.write_bytes(text.encode("utf-8"))

    def _write_json(self, name: str, values: Any) -> None:
        self._write_text(name, json.dumps(values, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _file_name(number: int, step: Step) -> str:
    """`03_e5_a-dog-barks`: letters, digits, hyphens, whatever the prompt holds."""
    words = "-".join(re.findall(r"[a-z0-9]+", step.prompt.lower()))[:40].strip("-")
    return "_".join(part for part in (f"{number:02d}", step.id, words) if part)


def _finite(value: float) -> float | None:
    return round(value, 3) if math.isfinite(value) else None
