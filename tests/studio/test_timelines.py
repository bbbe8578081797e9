"""Reaper, OpenTimelineIO and AAF files: read back by other readers, and played by a mixer of the test's own."""

import csv
import json
import math
import shlex
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray

from audio_agent_zoo.mixing import Placement, mix
from audio_agent_zoo.planner.plan import Step
from audio_agent_zoo.studio.exports import Delivery, ExportProject, export
from audio_agent_zoo.studio.reaper import quoted
from audio_agent_zoo.studio.timeline_items import item_of_render
from tests.studio.projects import OFFSETS_S, RATE, noise, project, renders, steps

Audio = NDArray[np.floating]
AT_16K = Delivery(sample_rate=16_000, bits="32f")
PANS = (-0.6, 0.0, 1.0)


# --- a reader of Reaper's blocks that knows nothing of ours


def tokens(line: str) -> list[str]:
    found, rest = [], line.strip()
    while rest:
        if rest[0] in "\"'`":
            end = rest.index(rest[0], 1)
            found.append(rest[1:end])
            rest = rest[end + 1 :].lstrip()
        else:
            word, _, rest = rest.partition(" ")
            found.append(word)
            rest = rest.lstrip()
    return found


def blocks(text: str) -> dict[str, Any]:
    """Nested `{"name": ..., "lines": {key: values}, "blocks": [...]}`."""
    stack: list[dict[str, Any]] = [{"name": "", "lines": {}, "blocks": []}]
    for line in text.splitlines():
        bare = line.strip()
        if bare == ">":
            done = stack.pop()
            stack[-1]["blocks"].append(done)
        elif bare.startswith("<"):
            stack.append({"name": bare[1:].split()[0], "lines": {}, "blocks": []})
            stack[-1]["lines"]["head"] = tokens(bare[1:])
        else:
            key, *values = tokens(bare)
            assert key not in stack[-1]["lines"], f"{key} twice in {stack[-1]['name']}"
            stack[-1]["lines"][key] = values
    assert len(stack) == 1, "a block is not closed"
    return stack[0]["blocks"][0]


def reaper_items(folder: Path) -> dict[str, dict[str, Any]]:
    """Step id -> what its only item says."""
    found = {}
    for track in blocks((folder / "project.rpp").read_text(encoding="utf-8"))["blocks"]:
        (item,) = [block for block in track["blocks"] if block["name"] == "ITEM"]
        (source,) = item["blocks"]
        lines = item["lines"]
        found[track["lines"]["NAME"][0].split()[0]] = {
            "name": lines["NAME"][0],
            "start_s": float(lines["POSITION"][0]),
            "length_s": float(lines["LENGTH"][0]),
            "offset_s": float(lines["SOFFS"][0]),
            "fade_in_s": float(lines["FADEIN"][1]),
            "fade_out_s": float(lines["FADEOUT"][1]),
            "level": float(lines["VOLPAN"][0]) * float(lines["VOLPAN"][2]),
            "pan": float(lines["VOLPAN"][1]),
            "pan_law": float(lines["VOLPAN"][3]),
            "muted": lines["MUTE"][0] == "1",
            "kind": source["lines"]["head"][1],
            "file": source["lines"]["FILE"][0],
        }
    return found


def otio_items(folder: Path) -> dict[str, dict[str, Any]]:
    otio = pytest.importorskip("opentimelineio")
    timeline = otio.adapters.read_from_file(str(folder / "timeline.otio"))
    found = {}
    for track in timeline.audio_tracks():
        (clip,) = track.find_clips()
        span, place = clip.source_range, clip.trimmed_range_in_parent()
        effects = {effect.effect_name: effect.metadata["audio_agent_zoo"] for effect in clip.effects}
        found[clip.name.split()[0]] = {
            "name": clip.name,
            "start_s": place.start_time.to_seconds(),
            "length_s": place.duration.to_seconds(),
            "offset_s": span.start_time.to_seconds(),
            "fade_in_s": effects["AudioFadeIn"]["duration_samples"] / effects["AudioFadeIn"]["sample_rate"],
            "fade_out_s": effects["AudioFadeOut"]["duration_samples"] / effects["AudioFadeOut"]["sample_rate"],
            "level": 10 ** (effects["AudioGain"]["level_db"] / 20),
            "pan": effects["AudioPan"]["pan"] if "AudioPan" in effects else 0.0,
            "pan_law": math.sqrt(0.5) if "AudioPan" in effects else -1.0,
            "muted": not clip.enabled,
            "file": clip.media_reference.target_url,
            "available": clip.media_reference.available_range.duration.value,
        }
    return found


READERS = {"reaper": reaper_items, "otio": otio_items}


# --- a mixer of the test's own


def played(item: dict[str, Any], folder: Path, shape: tuple[int, ...], rate: int) -> Audio:
    """What an editor with quarter-sine fades and equal-power pan makes of an item."""
    file, file_rate = soundfile.read(folder / item["file"], dtype="float64", always_2d=True)
    assert file_rate == rate
    start, length, offset, rise, fall = (
        round(item[key] * rate) for key in ("start_s", "length_s", "offset_s", "fade_in_s", "fade_out_s")
    )
    part = item["level"] * file[offset : offset + length]
    assert len(part) == length, "the item reaches beyond its file"
    time = np.arange(length)
    gain = np.ones(length)
    if rise:
        gain *= np.sin(np.pi / 2 * np.minimum(1, (time + 0.5) / rise))
    if fall:
        gain *= np.sin(np.pi / 2 * np.minimum(1, (length - time - 0.5) / fall))
    part = part * gain[:, None]
    if item["pan_law"] > 0:
        angle = (item["pan"] + 1) * np.pi / 4
        part = part * np.array([np.cos(angle), np.sin(angle)])
    out = np.zeros((shape[0], shape[1] if len(shape) > 1 else 1))
    out[start : start + length] += part
    return out.reshape(shape)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("pans", [(0.0, 0.0, 0.0), PANS])
def test_items_over_the_handles_sound_as_the_stems(tmp_path: Path, kind: str, pans: tuple[float, ...]) -> None:
    made = project(pans)  # type: ignore[arg-type]
    export(made, tmp_path, formats=[kind], delivery=AT_16K)
    items = READERS[kind](tmp_path)
    assert set(items) == {"e1", "e2", "e3", "e4"}
    total = np.zeros(made.audio.shape)
    for name, stem in made.stems.items():
        assert items[name]["file"].startswith("handles/")
        again = played(items[name], tmp_path, stem.shape, RATE)
        # A step of 24 bits is 1.2e-7; the stem itself is rounded to it.
        np.testing.assert_allclose(again, stem, atol=3e-7, err_msg=name)
        total += again
    assert items["e4"]["muted"]
    assert not items["e1"]["muted"]
    summed = np.sum(list(made.stems.values()), axis=0, dtype=np.float64)
    np.testing.assert_allclose(total, summed, atol=1e-6)


@pytest.mark.parametrize("kind", READERS)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_places_are_right_to_the_sample(tmp_path: Path, kind: str, rate: int) -> None:
    made = project()
    export(made, tmp_path, formats=[kind], delivery=Delivery(sample_rate=rate))
    for step in made.plan.steps:
        item = READERS[kind](tmp_path)[step.id]
        for key, seconds in (
            ("start_s", step.start_s),
            ("length_s", step.end_s - step.start_s),
            ("offset_s", OFFSETS_S.get(step.id, 0.0)),
            ("fade_out_s", step.fade_out_s),
        ):
            samples = item[key] * rate
            assert samples == pytest.approx(round(samples), abs=1e-6), "not on a sample"
            assert round(samples) == round(round(seconds * RATE) * rate / RATE), (step.id, key)
        assert item["name"] == f"{step.id} {step.prompt}"


def test_fades_are_those_of_the_mixer_and_not_of_the_plan(tmp_path: Path) -> None:
    """A knock that begins at once keeps its attack: its fade-in is shorter than the plan's 10 ms."""
    export(project(), tmp_path, formats=["reaper"], delivery=AT_16K)
    items = reaper_items(tmp_path)
    assert items["e1"]["fade_in_s"] == 0.5
    assert 0.0005 <= items["e3"]["fade_in_s"] < 0.005
    assert items["e3"]["fade_out_s"] == 0.05


def test_at_48_khz_items_sound_as_the_stems_but_for_resampling(tmp_path: Path) -> None:
    made = project(PANS)
    export(made, tmp_path, formats=["stems", "reaper"], delivery=Delivery(bits="32f"))
    items = reaper_items(tmp_path)
    for path in sorted((tmp_path / "stems").iterdir()):
        stem, rate = soundfile.read(path, dtype="float64")
        again = played(items[path.name.split("_")[1]], tmp_path, stem.shape, rate)
        wrong = np.sqrt(np.mean((again - stem) ** 2) / np.mean(stem**2))
        assert wrong < 0.01, path.name  # -40 dB: a fade of 3 n samples is not one of n samples, resampled


def test_handles_reach_beyond_the_item_on_both_sides(tmp_path: Path) -> None:
    made = project()
    export(made, tmp_path, formats=["handles", "otio"], delivery=AT_16K)
    item = otio_items(tmp_path)["e2"]
    file, _ = soundfile.read(tmp_path / item["file"], dtype="float32")
    np.testing.assert_array_equal(file, renders()["e2"])
    assert item["offset_s"] == 0.75
    assert item["available"] == len(file)
    assert len(file) / RATE - item["offset_s"] - item["length_s"] > 2


def test_a_render_beyond_full_scale_is_stored_lower_and_its_level_raised(tmp_path: Path) -> None:
    made = project()
    loud = {**made.renders, "e1": 40 * made.renders["e1"]}
    export(replace(made, renders=loud), tmp_path, formats=["reaper"], delivery=AT_16K)
    item = reaper_items(tmp_path)["e1"]
    assert item["file"].startswith("handles/")
    file, _ = soundfile.read(tmp_path / item["file"])
    assert np.abs(file).max() == pytest.approx(1.0)
    np.testing.assert_allclose(played(item, tmp_path, made.audio.shape, RATE), made.stems["e1"], atol=3e-7)


# --- where a render can't say what the stem is


@pytest.mark.parametrize("kind", READERS)
def test_a_step_without_a_fitting_render_lies_there_as_its_stem(tmp_path: Path, kind: str) -> None:
    made = project(PANS)
    strange = {**made.renders, "e1": noise(5.12, 0.05, 99)}
    changed = ExportProject(made.plan, made.audio, made.stems, renders=strange, source_offsets_s=OFFSETS_S)
    export(changed, tmp_path, formats=[kind], delivery=AT_16K)
    item = READERS[kind](tmp_path)["e1"]
    assert item["file"].startswith("stems/")
    assert (item["level"], item["fade_in_s"], item["fade_out_s"]) == (1.0, 0.0, 0.0)
    np.testing.assert_allclose(played(item, tmp_path, made.audio.shape, RATE), made.stems["e1"], atol=1e-7)
    assert any("e1" in note for note in report_of(tmp_path)["notes"])


def test_without_renders_every_item_is_a_stem_and_a_muted_step_is_left_out(tmp_path: Path) -> None:
    made = project(with_renders=False)
    export(made, tmp_path, formats=["reaper"], delivery=AT_16K)
    items = reaper_items(tmp_path)
    assert set(items) == {"e1", "e2", "e3"}
    for name, item in items.items():
        np.testing.assert_allclose(played(item, tmp_path, made.audio.shape, RATE), made.stems[name], atol=1e-7)


@pytest.mark.parametrize("length_s", [0.004, 0.02, 0.06, 0.3])
@pytest.mark.parametrize("fades_s", [(0.0, 0.0), (0.01, 0.05), (0.3, 0.4)])
def test_short_sounds_are_rebuilt_too(length_s: float, fades_s: tuple[float, float]) -> None:
    """Sounds shorter than their fades, where rise and fall meet."""
    step = Step(id="e1", prompt="tick", start_s=0.1, end_s=0.6, fade_in_s=fades_s[0], fade_out_s=fades_s[1])
    sound = noise(length_s, 0.2, 4)
    placement = Placement(sound, 0.1, 0.6, level_lufs=-30, fade_in_s=fades_s[0], fade_out_s=fades_s[1])
    stem = mix([placement], 1.0).stems[0]
    assert item_of_render(step, stem, sound, 0, RATE) is not None


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


# --- names that would break out of the text


@pytest.mark.parametrize(
    "text", ['says "no"', "it's", 'it\'s "both"', '`all` it\'s "three"', "> <ITEM\n>\n  MUTE 1 0", "", "a\tb\u2028c"]
)
def test_reaper_names_are_one_token(text: str) -> None:
    line = quoted(text)
    assert "\n" not in line
    (read,) = tokens(line) or [""]
    wanted = " ".join(text.split())
    if not all(mark in wanted for mark in "\"'`"):
        assert read == wanted
    if "'" not in wanted and '"' not in wanted:
        assert shlex.split(line.replace("`", '"')) == [wanted]


def test_a_hostile_prompt_changes_nothing_but_a_name(tmp_path: Path) -> None:
    first, *others = steps()
    hostile = first.model_copy(update={"prompt": "../../x\" > <ITEM `MUTE 1` '=cmd' >"})
    made = project()
    plan = made.plan.model_copy(update={"steps": (hostile, *others)})
    changed = ExportProject(plan, made.audio, made.stems, renders=made.renders, source_offsets_s=OFFSETS_S)
    written = export(changed, tmp_path, formats=["reaper", "stems", "otio", "cue_sheet"], delivery=AT_16K)
    assert all(path.resolve().is_relative_to(tmp_path.resolve()) for path in written)
    assert set(reaper_items(tmp_path)) == {"e1", "e2", "e3", "e4"}
    assert otio_items(tmp_path)["e1"]["name"] == f"e1 {hostile.prompt}"
    rows = list(csv.DictReader((tmp_path / "cues.csv").open(encoding="utf-8-sig", newline="")))
    assert rows[0]["prompt"] == hostile.prompt


def test_projects_name_their_files_relative_and_the_files_are_there(tmp_path: Path) -> None:
    export(project(), tmp_path, formats=["reaper", "otio"], delivery=Delivery(file_format="flac"))
    for items in (reaper_items(tmp_path), otio_items(tmp_path)):
        for item in items.values():
            assert not Path(item["file"]).is_absolute()
            assert (tmp_path / item["file"]).is_file()
            assert item.get("kind", "FLAC") == "FLAC"


# --- AAF


def aaf_tracks(path: Path) -> dict[str, dict[str, Any]]:
    """Step id -> where its clip lies, by pyaaf2's own rules for transitions."""
    aaf2 = pytest.importorskip("aaf2")
    found: dict[str, dict[str, Any]] = {}
    with aaf2.open(str(path)) as file:
        (composition,) = list(file.content.toplevel())
        for slot in composition.slots:
            if slot.name == "timecode":
                found["timecode"] = {"start": slot.segment.start, "fps": slot.segment.fps, "drop": slot.segment.drop}
                continue
            entry: dict[str, Any] = {"rate": float(slot.edit_rate), "length": slot.segment.length, "fades": []}
            for _, position, part in slot.segment.positions():
                if isinstance(part, aaf2.components.Transition):
                    entry["fades"].append((position, part.length))
                elif isinstance(part, aaf2.components.OperationGroup):
                    entry["start"] = position
                    while isinstance(part, aaf2.components.OperationGroup):
                        (parameter,) = list(part.parameters)
                        entry[part.operation.name] = float(parameter.value)
                        (part,) = list(part.segments)
                    entry["clip"] = (part.start, part.length)
                    (source,) = list(part.mob.slots)
                    essence = source.segment.mob
                    entry["samples"] = essence.descriptor.length
                    data = essence.essence.open("r").read()
                    steps_24 = np.frombuffer(b"".join(b"\0" + data[i : i + 3] for i in range(0, len(data), 3)), "<i4")
                    entry["audio"] = steps_24 / 2**31
            found.setdefault(slot.name.split()[0], entry)
    return found


def test_aaf_holds_sound_places_levels_and_fades(tmp_path: Path) -> None:
    made = project(PANS)
    delivery = Delivery(sample_rate=16_000, frame_rate=25, start_hour=1)
    export(made, tmp_path, formats=["aaf", "reaper"], delivery=delivery)
    tracks, items = aaf_tracks(tmp_path / "timeline.aaf"), reaper_items(tmp_path)
    assert tracks.pop("timecode") == {"start": 90_000, "fps": 25, "drop": False}
    assert set(tracks) == {"e1", "e2", "e3"}
    for name, track in tracks.items():
        item = items[name]
        start, length, offset, rise, fall = (
            round(item[key] * RATE) for key in ("start_s", "length_s", "offset_s", "fade_in_s", "fade_out_s")
        )
        assert (track["rate"], track["start"], track["clip"]) == (RATE, start, (offset, length))
        assert track["fades"] == [(start, rise), (start + length - fall, fall)]
        assert track["length"] == start + length
        assert track["Mono Audio Gain"] == pytest.approx(item["level"], rel=1e-4)
        assert track["Mono Audio Pan"] == pytest.approx((item["pan"] + 1) / 2, abs=1e-5)
        file, _ = soundfile.read(tmp_path / item["file"], dtype="float64")
        np.testing.assert_array_equal(track["audio"], file)


def test_a_missing_extra_is_named_with_its_pip_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module, kind in (("opentimelineio", "otio"), ("aaf2", "aaf")):
        monkeypatch.setitem(sys.modules, module, None)
        with pytest.raises(ImportError, match=r'pip install "audio-agent-zoo\[daw\]"'):
            export(project(), tmp_path / "out", formats=[kind], delivery=AT_16K)
        assert not (tmp_path / "out").exists()
