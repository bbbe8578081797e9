"""A video file in, the same picture with its own sound and text layers out."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from audio_agent_zoo.app import timeline
from audio_agent_zoo.cli import FILES, USAGE, main
from audio_agent_zoo.media import probe_video, read_audio, write_video
from audio_agent_zoo.pipelines.dubbing import Layer, dub
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.planner.plan import Plan
from audio_agent_zoo.synthesis.clips import make_clip
from audio_agent_zoo.synthesis.scenes import render_scene


@pytest.fixture(scope="module")
def pipeline() -> VideoToAudioPipeline:
    return VideoToAudioPipeline.from_pretrained("foley-mini")


@pytest.fixture(scope="module")
def hammering(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """1.4 s at 25 frames per second, not the rate the pipeline sees."""
    clip = make_clip(5, "test", 1.4, class_name="hammering")
    path = tmp_path_factory.mktemp("video") / "hammering.mp4"
    write_video(path, render_scene("hammering", clip.events, 1.4, seed=5, fps=25.0), 25)
    return path


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(container.streams.video[0]) if packet.size]


def test_layers_are_read() -> None:
    assert Layer.parse("0-4: rain on a roof") == Layer(0.0, 4.0, "rain on a roof")
    assert Layer.parse(" 1.5 - end @ -20: a dog: barking ") == Layer(1.5, None, "a dog: barking", -20.0)
    for wrong in ("rain", "0-4 rain", "-1-4: rain", "0-4:", "0-4@5: rain", "end-4: rain"):
        with pytest.raises(ValueError, match="START-END"):
            Layer.parse(wrong)


def test_stems_add_up_and_layers_keep_to_their_time(pipeline: VideoToAudioPipeline, hammering: Path) -> None:
    layers = [Layer(0.5, 1.0, "rain falling"), Layer(0.0, None, "wind")]
    out = dub(pipeline, hammering, "hammering on wood", layers, num_inference_steps=2)
    assert len(out.audio) == 22_400 and set(out.stems) == {"e1", "e2", "e3"}
    assert {step.source for step in out.plan.steps} == {"video", "text"}
    rain = out.stems["e2"]
    assert not rain[:8000].any() and not rain[16_000:].any() and rain[8000:16_000].any()
    total = np.sum([stem.astype(np.float64) for stem in out.stems.values()], axis=0)
    if not any("limit" in note for note in out.notes):
        np.testing.assert_array_equal(total.astype(np.float32), out.audio)
    alone = dub(pipeline, hammering, "hammering on wood", num_inference_steps=2)
    np.testing.assert_array_equal(alone.stems["e1"], out.stems["e1"])


@pytest.mark.parametrize("layer", [Layer(0.0, 9.0, "rain"), Layer(1.2, 1.2, "rain"), Layer(2.0, None, "rain")])
def test_a_layer_outside_of_the_video_is_refused(pipeline: VideoToAudioPipeline, hammering: Path, layer: Layer) -> None:
    with pytest.raises(ValueError, match="within the video"):
        dub(pipeline, hammering, "hammering", [layer], num_inference_steps=1)


def test_the_command_keeps_the_picture_and_writes_everything(
    hammering: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "with_sound.mp4"
    words = ["dub", str(hammering), "--caption", "hammering on wood", "--layer", "0-end: rain", "--out", str(out)]
    assert main([*words, "--steps", "2"]) == 0
    assert packets(out) == packets(hammering), "the picture is copied, not encoded again"
    assert probe_video(out).has_audio and probe_video(out).duration_s == pytest.approx(1.4, abs=0.02)
    assert len(read_audio(out.with_suffix(".wav"))) == 22_400
    assert out.with_suffix(".png").stat().st_size > 20_000
    plan = Plan.from_json(out.with_suffix(".plan.json").read_text())
    assert [step.prompt for step in plan.steps] == ["hammering on wood", "rain"]
    said = capsys.readouterr().out
    assert "memory" in said and "foley-mini" in said
    assert not json.dumps(said).count(str(Path(__file__).parents[2]))


def test_the_picture_marks_onsets_of_the_video_and_not_of_the_layers(
    hammering: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marked = list[list[float]]()
    monkeypatch.setattr(timeline, "draw_timeline", lambda *arguments, onsets_s, **more: marked.append(onsets_s))
    plain = ["dub", str(hammering), "--caption", "hammering on metal", "--steps", "2", "--out", str(tmp_path / "a.mp4")]
    for layers in ([], ["--layer", "0-end: a church bell rings"]):
        assert main([*plain, *layers]) == 0
    assert marked[0] and marked[0] == marked[1]


def test_bad_videos_leave_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "text.mp4").write_text("this is no video")
    write_video(tmp_path / "whole.mp4", np.zeros((30, 32, 32, 3), np.uint8), 25)
    (tmp_path / "cut.mp4").write_bytes((tmp_path / "whole.mp4").read_bytes()[:400])
    (tmp_path / "whole.mp4").unlink()
    before = sorted(tmp_path.iterdir())
    for name in ("text.mp4", "cut.mp4", "missing.mp4"):
        assert main(["dub", str(tmp_path / name), "--out", str(tmp_path / "out.mp4")]) == FILES
        assert name in capsys.readouterr().err
    assert main(["dub", "clip.mp4", "--out", str(tmp_path / "out.gif")]) == USAGE
    assert main(["dub", "clip.mp4", "--layer", "rain", "--out", str(tmp_path / "out.mp4")]) == USAGE
    assert sorted(tmp_path.iterdir()) == before
