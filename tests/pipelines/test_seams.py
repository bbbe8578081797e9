"""Where two windows of a long sound meet, or two stretches of a long video, nothing stands out."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from audio_agent_zoo.metrics.onsets import CONDFOLEY, OnsetScore, detect_onsets, score_clip
from audio_agent_zoo.pipelines import token_writing
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.pipelines.windows import cut_into_windows, overlap_columns
from audio_agent_zoo.rates import FRAME_RATE, SAMPLE_RATE
from audio_agent_zoo.synthesis.clips import make_clip
from audio_agent_zoo.synthesis.scenes import render_scene

DURATION_S = 27.0

pytestmark = pytest.mark.slow


def levels_db(audio: np.ndarray, width_s: float = 0.32) -> np.ndarray:
    """Level in dB of stretches as wide as half a cross-fade."""
    n = int(width_s * SAMPLE_RATE)
    parts = audio[: len(audio) // n * n].reshape(-1, n)
    return 10 * np.log10(np.square(parts).mean(1) + 1e-12)


def assert_even(audio: np.ndarray, pipeline: TextToAudioPipeline, name: str) -> None:
    """The level steps no further where windows meet than elsewhere."""
    native = pipeline.parts.generation.native_columns
    windows = cut_into_windows(
        0, int(DURATION_S * 100), 0, multiple=pipeline.parts.width_multiple, min_columns=128, native_columns=native
    )
    assert len(windows) == 3
    levels = levels_db(audio)
    overlap_s = overlap_columns(native) / 100
    seams = [int((window.start / 100 + overlap_s / 2) / 0.32) for window in windows[1:]]
    steps = np.abs(np.diff(levels))
    inside = np.concatenate([steps[max(0, seam - 1) : seam + 2] for seam in seams])
    rest = np.delete(steps, [i for seam in seams for i in range(max(0, seam - 1), seam + 2)])
    print(f"\n{name}: largest level step at a seam {inside.max():.1f} dB, elsewhere {rest.max():.1f} dB")
    assert inside.max() <= rest.max() + 1.0


@pytest.mark.parametrize("prompt", ["rain falling", "a stream flowing", "wind"])
def test_the_level_at_a_seam_is_that_of_anywhere(prompt: str) -> None:
    pipeline = TextToAudioPipeline.from_pretrained("foley-mini")
    with torch.inference_mode():
        audio = pipeline(prompt, DURATION_S, seed=4).audios[0]
    assert_even(audio, pipeline, prompt)


def test_a_long_video_has_no_seams_either() -> None:
    pipeline = VideoToAudioPipeline.from_pretrained("foley-mini")
    frames = np.full((round(DURATION_S * FRAME_RATE), 64, 64, 3), 110, np.uint8)  # what sounds is steady
    made = pipeline(frames, "rain falling", seed=4)
    assert len(made.audios[0]) == round(len(frames) / FRAME_RATE * SAMPLE_RATE)
    assert len(made.tokens[0]) > 2 * pipeline.parts.video.window_tokens
    assert_even(made.audios[0], pipeline.base, "video of rain falling")


@pytest.mark.parametrize("class_name", ["hammering", "door_knock", "footsteps"])
def test_onsets_of_a_long_video_are_as_good_side_by_side(class_name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three stretches of 20 s against one window after another, by the true onsets of the whole."""
    pipeline, seconds = VideoToAudioPipeline.from_pretrained("foley-mini"), 60.0
    clip = make_clip(770_001, "test", seconds, class_name=class_name)
    video = pipeline.encode_video(render_scene(class_name, clip.events, seconds, seed=clip.seed, size=64))
    video = replace(video, duration_s=seconds)
    true = detect_onsets(clip.audio, SAMPLE_RATE, CONDFOLEY)
    scores = dict[str, OnsetScore]()
    for name, stretch in (("side by side", token_writing.STRETCH_TOKENS), ("one after another", 10**9)):
        monkeypatch.setattr(token_writing, "STRETCH_TOKENS", stretch)
        tokens = pipeline.write_tokens([video], [clip.caption], [0])
        (audio,) = pipeline.render(tokens, [clip.caption], [seconds], num_inference_steps=8).audios
        scores[name] = score_clip(true, detect_onsets(audio, SAMPLE_RATE, CONDFOLEY), CONDFOLEY)
    told = ", ".join(f"{name} {s.detection_accuracy:.3f} / {s.average_precision:.3f}" for name, s in scores.items())
    print(f"\n{class_name}, {len(true)} onsets in 60 s, detection accuracy / AP: {told}")
    beside, after = scores.values()
    assert beside.detection_accuracy >= after.detection_accuracy - 0.05
    assert beside.average_precision >= after.average_precision - 0.05
