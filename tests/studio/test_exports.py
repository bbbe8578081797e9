"""Exports as a whole: what the files hold, and that a failed export leaves nothing behind."""

import json
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import av
import numpy as np
import pyloudnorm
import pytest
import soundfile
from numpy.typing import NDArray

from audio_agent_zoo.loudness import true_peak_dbtp
from audio_agent_zoo.media import write_video
from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.studio.exports import FORMATS, Delivery, ExportProject, export
from audio_agent_zoo.studio.provenance import without_paths
from tests.studio.projects import DURATION_S, OFFSETS_S, RATE, mixed, project, renders, steps

Audio = NDArray[np.floating]
PANS = (-0.6, 0.0, 1.0)


def read(path: Path) -> tuple[Audio, int]:
    return soundfile.read(path, dtype="float64")


def stems_of(folder: Path) -> list[Audio]:
    return [read(path)[0] for path in sorted((folder / "stems").iterdir())]


def files_in(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def report_of(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "report.json").read_text(encoding="utf-8"))


def quiet_project() -> ExportProject:
    """A project whose stems stay under full scale at any rate."""
    parts = tuple(step.model_copy(update={"level_lufs": -30.0}) for step in steps())
    made = mixed(parts, renders())
    stems = dict(zip(["e1", "e2", "e3"], made.stems, strict=True))
    plan = Plan(duration_s=DURATION_S, steps=parts, max_polyphony=3)
    return ExportProject(plan, made.audio, stems, renders=renders(), source_offsets_s=OFFSETS_S)


# --- sounds


@pytest.mark.parametrize(
    ("file_format", "bits"), [("wav", "16"), ("wav", "24"), ("wav", "32f"), ("flac", "16"), ("flac", "24")]
)
@pytest.mark.parametrize("rate", [16_000, 48_000])
def test_every_file_has_its_format_and_exact_length(tmp_path: Path, file_format: str, bits: str, rate: int) -> None:
    delivery = Delivery(file_format=file_format, bits=bits, sample_rate=rate)  # type: ignore[arg-type]
    written = export(quiet_project(), tmp_path, formats=["master", "stems"], delivery=delivery)
    sounds = [path for path in written if path.suffix == f".{file_format}"]
    assert len(sounds) == 4
    for path in sounds:
        info = soundfile.info(path)
        assert (info.frames, info.samplerate, info.channels) == (round(DURATION_S * rate), rate, 1)
        assert info.subtype == {"16": "PCM_16", "24": "PCM_24", "32f": "FLOAT"}[bits]


@pytest.mark.parametrize("duration_s", [0.25, 0.30001, 1.00003, 3.33333])
def test_odd_lengths_are_exact_at_48_khz_and_items_stay_in_their_files(tmp_path: Path, duration_s: float) -> None:
    step = steps()[0].model_copy(update={"end_s": duration_s, "fade_in_s": 0.01, "fade_out_s": 0.05})
    made = mixed((step,), renders(), duration_s)
    plan = Plan(duration_s=duration_s, steps=(step,))
    for number, sounds in enumerate(({}, {"e1": renders()["e1"]}, {"e1": renders()["e1"][: len(made.audio)]})):
        folder = tmp_path / str(number)
        export(ExportProject(plan, made.audio, {"e1": made.stems[0]}, renders=sounds), folder)
        for path in (folder / "mix.wav", next((folder / "stems").iterdir())):
            assert soundfile.info(path).frames == round(duration_s * 48_000)
        (item,) = report_of(folder)["items"]
        end_s = item["source_offset_s"] + item["length_s"]
        assert round(end_s * 48_000) <= soundfile.info(folder / item["file"]).frames
        assert item["length_s"] == pytest.approx(duration_s, abs=1.5 / RATE)


@pytest.mark.parametrize("rate", [16_000, 48_000])
@pytest.mark.parametrize("pans", [(0.0, 0.0, 0.0), PANS])
def test_stems_sum_to_the_master_before_gain_and_limiter(tmp_path: Path, rate: int, pans: tuple[float, ...]) -> None:
    """To the bit: at a target so low that the limiter rests, the master is the sum times the gain."""
    made = project(pans)  # type: ignore[arg-type]
    delivery = Delivery(sample_rate=rate, loudness_lufs=-35, bits="32f")
    export(made, tmp_path, formats=["master", "stems"], delivery=delivery)
    total = np.sum(stems_of(tmp_path), axis=0)
    master = report_of(tmp_path)["master"]
    assert master["limiter_gain_db"] == 0
    audio, _ = read(tmp_path / "mix.wav")
    gain = float(np.vdot(total, audio) / np.vdot(total, total))
    assert 20 * np.log10(gain) == pytest.approx(master["gain_db"], abs=1e-3)
    np.testing.assert_allclose(audio, (total * gain).astype(np.float32), rtol=3e-7, atol=1e-9)


def test_stems_at_48_khz_are_the_same_numbers_in_24_bits_and_float(tmp_path: Path) -> None:
    """They lie on the grid of 24 bits, so that their sum is exact in either."""
    for bits in ("24", "32f"):
        export(quiet_project(), tmp_path / bits, formats=["stems"], delivery=Delivery(bits=bits))  # type: ignore[arg-type]
    for fixed, floating in zip(stems_of(tmp_path / "24"), stems_of(tmp_path / "32f"), strict=True):
        np.testing.assert_array_equal(fixed, floating)


def test_at_the_rate_of_the_mix_stems_and_master_are_those_of_the_mix(tmp_path: Path) -> None:
    made = project(PANS)
    export(made, tmp_path, formats=["master", "stems"], delivery=Delivery(sample_rate=RATE))
    for found, stem in zip(stems_of(tmp_path), made.stems.values(), strict=True):
        np.testing.assert_allclose(found, stem, rtol=0, atol=2**-23)  # 24 bits hold all but full scale itself
        np.testing.assert_array_equal(found[stem < 1], stem[stem < 1])
    np.testing.assert_allclose(read(tmp_path / "mix.wav")[0], made.audio, atol=2**-24)


@pytest.mark.parametrize("loudness", [None, -14.0, -16.0, -23.0])
@pytest.mark.parametrize("bits", ["16", "24"])
def test_the_written_master_has_its_loudness_and_ceiling(tmp_path: Path, loudness: float | None, bits: str) -> None:
    delivery = Delivery(loudness_lufs=loudness, bits=bits)  # type: ignore[arg-type]
    export(project(), tmp_path, formats=["master"], delivery=delivery)
    audio, rate = read(tmp_path / "mix.wav")
    measured = pyloudnorm.Meter(rate).integrated_loudness(audio)
    master = report_of(tmp_path)["master"]
    if loudness is not None:
        assert measured == pytest.approx(loudness, abs=0.5)
    assert master["loudness_lufs"] == pytest.approx(measured, abs=0.05)
    assert master["target_lufs"] == loudness
    assert true_peak_dbtp(audio, rate) <= -1.0 + 0.01
    assert master["true_peak_dbtp"] <= -1.0 + 0.01


def test_a_stem_beyond_full_scale_is_written_as_float_and_said(tmp_path: Path) -> None:
    made = project()
    stems = {**made.stems, "e1": made.stems["e1"].copy(), "e2": made.stems["e2"].copy()}
    stems["e1"][30_000] += 1.5
    stems["e2"][30_000] -= 1.5
    export(replace(made, stems=stems), tmp_path, formats=["stems"], delivery=Delivery(sample_rate=RATE))
    loud = soundfile.info(next((tmp_path / "stems").glob("01_*")))
    assert loud.subtype == "FLOAT"
    assert soundfile.info(next((tmp_path / "stems").glob("*e3*"))).subtype == "PCM_24"
    assert any("e1" in note for note in report_of(tmp_path)["notes"])
    np.testing.assert_allclose(np.sum(stems_of(tmp_path), axis=0), np.sum(list(stems.values()), axis=0), atol=1e-7)


def test_handles_are_the_untrimmed_renders(tmp_path: Path) -> None:
    sounds = {**renders(), "e1": 3 * renders()["e1"] / np.abs(renders()["e1"]).max()}
    made = replace(project(), renders=sounds)
    export(made, tmp_path, formats=["handles"], delivery=Delivery(sample_rate=RATE, bits="32f"))
    files = {path.name.split("_")[1]: read(path)[0] for path in (tmp_path / "handles").iterdir()}
    assert set(files) == set(sounds)
    np.testing.assert_array_equal(files["e2"], sounds["e2"])
    np.testing.assert_allclose(files["e1"] * 3, sounds["e1"], atol=1e-6)  # lowered to full scale
    assert not (tmp_path / "stems").exists()


# --- texts


def test_the_plan_comes_back_and_provenance_says_what_made_it(tmp_path: Path) -> None:
    made = project()
    export(made, tmp_path)
    assert Plan.from_json((tmp_path / "plan.json").read_text(encoding="utf-8")) == made.plan
    record = json.loads((tmp_path / "provenance.json").read_text(encoding="utf-8"))
    assert record["synthetic"] is True
    assert (record["request"], record["weights"], record["license"]) == ("A rainy kitchen", "foley-mini", "apache-2.0")
    assert [step["seed"] for step in record["steps"]] == [11, 12, None, 7]
    assert record["plan_digest"] == made.plan.digest
    assert {"audio-agent-zoo", "python", "numpy"} <= set(record["versions"])


def test_no_absolute_path_is_in_any_text(tmp_path: Path) -> None:
    made = project()
    given = {
        **made.provenance,
        "weights": "/srv/someone/secret/foley-mini",
        "settings": {"from": r"C:\Users\me\a.yaml"},
    }
    export(replace(made, provenance=given), tmp_path / "out", formats=[f for f in FORMATS if f not in ("video", "aaf")])
    for name, content in files_in(tmp_path / "out").items():
        if name.endswith((".json", ".rpp", ".otio", ".csv")):
            text = content.decode()
            assert "secret" not in text, name
            assert "Users" not in text, name
            assert str(tmp_path) not in text, name
    record = json.loads((tmp_path / "out" / "provenance.json").read_text(encoding="utf-8"))
    assert record["weights"] == "foley-mini"
    assert record["settings"] == {"from": "a.yaml"}


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("org/weights", "org/weights"),
        ("https://huggingface.co/org/weights", "https://huggingface.co/org/weights"),
        ("a dog and/or a cat", "a dog and/or a cat"),
        ("/srv/data/weights", "weights"),
        ("~/models/x.safetensors", "x.safetensors"),
        ("see /mnt/a/b.wav and C:\\x\\y.wav", "see b.wav and y.wav"),
        ("file:///srv/a/b.mp4", "b.mp4"),
    ],
)
def test_paths_become_names(text: str, kept: str) -> None:
    assert without_paths({"a": [text]}) == {"a": [kept]}


def test_an_unknown_provenance_key_is_refused(tmp_path: Path) -> None:
    given: Any = {"weights": "x", "api_key": "sk-1"}
    with pytest.raises(ValueError, match="api_key"):
        export(replace(project(), provenance=given), tmp_path / "out")
    assert not (tmp_path / "out").exists()


# --- zip, video


def test_the_zip_holds_everything_and_its_bytes_depend_on_nothing_else(tmp_path: Path) -> None:
    formats = ["master", "stems", "handles", "reaper", "otio", "cue_sheet", "zip"]
    for name in ("a", "b"):
        written = export(quiet_project(), tmp_path / name, formats=formats)
        assert written[-1] == tmp_path / name / "export.zip"
        assert all(path.is_file() for path in written)
    first, second = files_in(tmp_path / "a"), files_in(tmp_path / "b")
    assert first == second
    with zipfile.ZipFile(tmp_path / "a" / "export.zip") as bundle:
        assert bundle.testzip() is None
        inside = {name: bundle.read(name) for name in bundle.namelist()}
    assert inside == {name: content for name, content in first.items() if name != "export.zip"}


def test_a_video_gets_the_master_and_keeps_its_picture(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (100, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "in.mp4", frames, 25)
    made = replace(project(), video=tmp_path / "in.mp4")
    export(made, tmp_path / "out", delivery=Delivery(start_hour=1))

    def packets(path: Path) -> list[bytes]:
        with av.open(str(path)) as container:
            return [bytes(packet) for packet in container.demux(video=0) if packet.size]

    assert packets(tmp_path / "out" / "dub.mp4") == packets(tmp_path / "in.mp4")
    with av.open(str(tmp_path / "out" / "dub.mp4")) as container:
        stream = container.streams.audio[0]
        assert stream.rate == 48_000
        assert float(stream.duration * stream.time_base) == pytest.approx(DURATION_S, abs=0.05)
    text = (tmp_path / "out" / "project.rpp").read_text(encoding="utf-8")
    assert 'FILE "dub.mp4"' in text
    assert "01:00:00:00" in (tmp_path / "out" / "cues.csv").read_text(encoding="utf-8-sig")


def test_timecodes_follow_the_video(tmp_path: Path) -> None:
    frames = np.zeros((40, 48, 64, 3), np.uint8)
    write_video(tmp_path / "in.mp4", frames, 10)
    export(replace(project(), video=tmp_path / "in.mp4"), tmp_path / "out", formats=["cue_sheet"])
    assert "00:00:00:05" in (tmp_path / "out" / "cues.csv").read_text(encoding="utf-8-sig")
    assert report_of(tmp_path / "out")["frame_rate"] == pytest.approx(10)


def test_a_plan_with_one_silent_step_exports(tmp_path: Path) -> None:
    parts = steps()[:1]
    made = mixed(parts, {"e1": np.zeros(RATE * 5, np.float32)})
    silent = ExportProject(
        Plan(duration_s=DURATION_S, steps=parts),
        made.audio,
        {"e1": made.stems[0]},
        renders={"e1": np.zeros(RATE * 5, np.float32)},
    )
    export(silent, tmp_path, formats=["master", "reaper"], delivery=Delivery(loudness_lufs=-23))
    assert report_of(tmp_path)["master"]["loudness_lufs"] is None
    assert any("silent" in note for note in report_of(tmp_path)["notes"])
