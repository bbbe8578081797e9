"""Video to audio on tiny weights: lengths, batches, windows, the base left alone, what is said, bad videos."""

from collections.abc import Callable
from dataclasses import replace
from math import ceil
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import iter_frames, write_video
from audio_agent_zoo.models.semantic_token_lm import Sampling
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.pipelines.visual_guide import VisualGuide
from audio_agent_zoo.pipelines.windows import Window
from tests import tiny, tiny_video


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_video.write_video_published(tmp_path_factory.mktemp("published") / "tiny")


@pytest.fixture(scope="module")
def pipeline(published: Path) -> VideoToAudioPipeline:
    return VideoToAudioPipeline.from_pretrained(published)


def sampled(pipeline: VideoToAudioPipeline, **generation: Any) -> VideoToAudioPipeline:
    """The same networks, sampled otherwise."""
    parts = pipeline.parts
    return VideoToAudioPipeline(pipeline.base, replace(parts, video=replace(parts.video, **generation)))


# Lengths


@pytest.mark.parametrize(("n_frames", "fps"), [(1, 25), (2, 21.5), (7, 30), (25, 24), (29, 10)])
def test_the_sound_is_exactly_as_long_as_the_video(
    pipeline: VideoToAudioPipeline, tmp_path: Path, n_frames: int, fps: float
) -> None:
    write_video(tmp_path / "a.mp4", tiny_video.moving(n_frames), fps)
    made = pipeline(tmp_path / "a.mp4", "rain")
    samples = round(n_frames / fps * 16_000)
    assert made.audios[0].shape == (samples,) and made.audios[0].dtype == np.float32
    assert made.sample_rate == 16_000 and np.abs(made.audios[0]).max() <= 1.0
    assert made.tokens[0].shape == (ceil(samples / 320),) and made.tokens[0].dtype == np.int64
    assert 0 <= made.tokens[0].min() <= made.tokens[0].max() < tiny_video.N_AUDIO
    assert set(made.seconds) == {"frames", "tokens", "text", "denoise", "decode", "vocode"}


@pytest.mark.parametrize("n_frames", [1, 3, 22, 43])
def test_arrays_are_frames_at_the_pipelines_own_rate(pipeline: VideoToAudioPipeline, n_frames: int) -> None:
    made = pipeline(tiny_video.moving(n_frames), "rain")
    assert len(made.audios[0]) == round(n_frames / 21.5 * 16_000)


def test_an_array_and_a_file_of_the_same_frames_agree(pipeline: VideoToAudioPipeline, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, tiny_video.moving(43, 48, 64), 21.5)
    size = pipeline.parts.frame_encoder.fitted_size(64, 48)
    frames = np.concatenate(list(iter_frames(path, size=size)))
    from_file, from_array = pipeline(path, "rain", seed=4), pipeline(frames, "rain", seed=4)
    np.testing.assert_array_equal(from_file.tokens[0], from_array.tokens[0])
    np.testing.assert_array_equal(from_file.audios[0], from_array.audios[0])
    # Frames of the file's own size are made smaller by us, and else by the decoder.
    whole = np.concatenate(list(iter_frames(path)))
    assert whole.shape[1:3] == (48, 64) != size
    vectors = [pipeline.encode_video(video).frames for video in (path, whole)]
    apart = (vectors[0] - vectors[1]).abs().mean()
    assert apart < 0.1 * (vectors[0] - vectors[0].mean(0)).abs().mean() + 0.05


def test_long_arrays_are_looked_at_in_pieces(pipeline: VideoToAudioPipeline) -> None:
    frames = tiny_video.moving(150)
    encoded = pipeline.encode_video(frames)
    assert encoded.frames.shape == (150, tiny_video.FRAME_DIM) and encoded.moves
    torch.testing.assert_close(encoded.frames, pipeline.parts.frame_encoder.encode(frames))
    still = np.repeat(tiny_video.moving(1), 150, axis=0)
    assert not pipeline.encode_video(still).moves
    still[64:] = tiny_video.moving(1, seed=1)  # the only change lies between two pieces
    assert pipeline.encode_video(still).moves


# Several videos


def test_videos_in_a_list_sound_as_one_by_one(pipeline: VideoToAudioPipeline) -> None:
    videos = [tiny_video.moving(n, seed=i) for i, n in enumerate([22, 9, 22, 31])]
    captions = ["rain", None, "a dog barks in the rain", "a dog barks"]
    seeds = [1, 2, 3, 4]
    together = pipeline(videos, captions, seed=seeds)
    assert together.seeds == seeds and len(together.audios) == 4
    for i, video in enumerate(videos):
        alone = pipeline(video, captions[i], seed=seeds[i])
        np.testing.assert_array_equal(together.tokens[i], alone.tokens[0])
        np.testing.assert_allclose(together.audios[i], alone.audios[0], atol=2e-5)
    assert np.abs(together.audios[0] - together.audios[2]).max() > 1e-3
    shared = pipeline([videos[0], videos[2]], "rain", seed=1)
    np.testing.assert_allclose(shared.audios[0], together.audios[0], atol=2e-5)


def test_every_input_counts_and_calls_leave_nothing_behind(pipeline: VideoToAudioPipeline) -> None:
    video, other = tiny_video.moving(13), tiny_video.moving(13, seed=7)
    first = pipeline(video, "rain", seed=5)
    changed = [
        pipeline(other, "rain", seed=5),
        pipeline(video, "thunder", seed=5),
        pipeline(video, "rain", seed=6),
        pipeline(video, "rain", seed=5, visual_scale=1.0),
        pipeline(video, "rain", seed=5, guidance_scale=5.0),
        pipeline(video, "rain", seed=5, negative_prompt="wind"),
        pipeline(video, "rain", seed=5, num_inference_steps=5),
    ]
    for made in changed:
        assert np.abs(made.audios[0] - first.audios[0]).max() > 1e-4
    assert not np.array_equal(changed[0].tokens[0], first.tokens[0])
    again = pipeline(video, "rain", seed=np.int64(5))
    np.testing.assert_array_equal(again.audios[0], first.audios[0])
    np.testing.assert_array_equal(again.tokens[0], first.tokens[0])


def test_drawn_tokens_follow_the_seed(pipeline: VideoToAudioPipeline) -> None:
    warm = sampled(pipeline, temperature=1.0, top_k=5)
    video = tiny_video.moving(22)
    first, same, other = (warm(video, "rain", seed=seed, num_inference_steps=1) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.tokens[0], same.tokens[0])
    np.testing.assert_array_equal(first.audios[0], same.audios[0])
    assert not np.array_equal(first.tokens[0], other.tokens[0])
    both = warm([video, video], "rain", seed=[4, 3], num_inference_steps=1)
    np.testing.assert_array_equal(both.tokens[0], other.tokens[0])
    np.testing.assert_array_equal(both.tokens[1], first.tokens[0])


# The base


@pytest.mark.parametrize("n_frames", [9, 31])
def test_visual_scale_zero_is_the_base_bit_for_bit(pipeline: VideoToAudioPipeline, n_frames: int) -> None:
    base = TextToAudioPipeline(tiny.parts())
    expected = base("a dog barks", n_frames / 21.5, seed=8).audios[0]
    made = pipeline(tiny_video.moving(n_frames), "a dog barks", visual_scale=0.0, seed=8)
    np.testing.assert_array_equal(made.audios[0], expected)
    np.testing.assert_array_equal(pipeline.base("a dog barks", n_frames / 21.5, seed=8).audios[0], expected)
    steered = pipeline(tiny_video.moving(n_frames), "a dog barks", seed=8).audios[0]
    assert np.abs(steered - expected).max() > 1e-3


def test_the_guide_shows_each_window_its_own_stretch(pipeline: VideoToAudioPipeline) -> None:
    adapter, quantizer = pipeline.parts.adapter, pipeline.parts.quantizer
    centroids = [quantizer.lookup(torch.arange(n) % tiny_video.N_AUDIO) for n in (50, 30)]
    guide = VisualGuide(adapter, centroids, 0.7, 100.0)
    windows = [Window(1, 64, 64, 0), Window(0, 64, 64, 0, start=48), Window(0, 64, 64, 0)]
    with torch.no_grad():
        visual = guide.unet_arguments(windows, 4.0, guided=True)["cross_attention_kwargs"]["visual"]
        shown = [centroids[1], centroids[0][24:], centroids[0][:32]]  # 64 columns are 32 tokens
        assert visual.scale == 0.7 and visual.window_s == 0.64
        assert visual.states.shape[:2] == (6, 32)
        assert visual.mask.tolist() == [[i < n for i in range(32)] for n in (30, 26, 32)] * 2
        for row, own in enumerate(shown):
            expected = adapter.image_proj(adapter.timed(own[None]))[0]
            torch.testing.assert_close(visual.states[3 + row, : len(own)], expected)
        empty = adapter.image_proj(torch.zeros(1, 1, tiny_video.HUBERT_DIM))[0]
        torch.testing.assert_close(visual.states[:3], empty.expand(3, 32, -1))
        whole = guide.unet_arguments(windows[2:], 4.0, guided=False)["cross_attention_kwargs"]["visual"]
        assert whole.mask is None and whole.states.shape[0] == 1
    assert VisualGuide(adapter, centroids, 0.0, 100.0).unet_arguments(windows, 4.0, guided=True) == {}


# Windows of tokens


def test_long_videos_go_on_from_the_last_tokens(pipeline: VideoToAudioPipeline) -> None:
    assert (pipeline.parts.video.window_tokens, pipeline.parts.video.context_tokens) == (40, 10)
    encoded = pipeline.encode_video(tiny_video.moving(43))  # 2 s: 100 tokens
    (tokens,) = pipeline.write_tokens([encoded], ["rain"], [0])
    lm, connector = pipeline.parts.lm, pipeline.parts.connector
    with torch.inference_mode():
        embedded = connector(encoded.frames[None], 100)
        first = lm.generate(["rain"], connector.stretch(embedded, 0, 40), 40)
        second = lm.generate(["rain"], connector.stretch(embedded, 30, 40), 40, given=first[:, 30:])
        third = lm.generate(["rain"], connector.stretch(embedded, 60, 40), 40, given=second[:, 30:])
    expected = torch.cat([first, second[:, 10:], third[:, 10:]], dim=1)[0]
    assert torch.equal(tokens, expected) and len(expected) == 100
    assert not torch.equal(second[:, 10:20], first[:, 10:20])


@pytest.mark.parametrize(("n_frames", "expected"), [(11, 26), (17, 40), (18, 42), (31, 73)])
def test_windows_give_the_number_of_tokens_of_any_length(
    pipeline: VideoToAudioPipeline, n_frames: int, expected: int
) -> None:
    for generation in ({"fixed_window": True}, {"context_tokens": 0}, {"window_tokens": 9, "context_tokens": 20}):
        made = sampled(pipeline, **generation)
        encoded = made.encode_video(tiny_video.moving(n_frames))
        seen: list[tuple[str, int, int]] = []
        (tokens,) = made.write_tokens([encoded], [""], [0], lambda *news, seen=seen: seen.append(news))
        assert len(tokens) == expected, generation
        done = [step for _, step, _ in seen]
        assert done == sorted(done) and done[-1] == expected and {total for *_, total in seen} == {expected}


def test_a_fixed_window_holds_the_last_frame(pipeline: VideoToAudioPipeline) -> None:
    fixed = sampled(pipeline, fixed_window=True)
    encoded = fixed.encode_video(tiny_video.moving(11))
    (tokens,) = fixed.write_tokens([encoded], ["rain"], [0])
    lm, connector = fixed.parts.lm, fixed.parts.connector
    with torch.inference_mode():
        embedded = connector(torch.cat([encoded.frames, encoded.frames[-1:]])[None], 26)
        held = torch.cat([embedded, embedded[:, -1:].expand(-1, 6, -1)], dim=1)
        assert held.shape[1] == 18  # 0.8 s
        expected = lm.generate(["rain"], held, 40, sampling=Sampling())[0, :26]
    assert torch.equal(tokens, expected)


# What is said


def test_notes_say_what_is_a_guess(pipeline: VideoToAudioPipeline) -> None:
    still, lively = np.repeat(tiny_video.moving(1), 22, axis=0), tiny_video.moving(22)

    def notes(*arguments: Any) -> tuple[str, ...]:
        return pipeline(*arguments, num_inference_steps=1).notes

    assert notes(lively, "rain") == ()
    (guess,) = notes(lively)
    assert guess == "there is no caption; what sounds is guessed from the picture."
    (guess,) = notes(still, "rain")
    assert "nothing moves" in guess and "follows the caption" in guess
    (guess,) = notes(still, "  ")
    assert "nothing moves" in guess and "no caption" in guess
    several = notes([still, lively, lively], ["rain", "rain", None])
    assert [note.split(":")[0] for note in several] == ["video 1", "video 3"]


def test_progress_is_told_by_stage_and_can_stop_the_work(pipeline: VideoToAudioPipeline) -> None:
    seen: list[tuple[str, int, int]] = []
    pipeline([tiny_video.moving(22), tiny_video.moving(9)], "rain", callback=lambda *news: seen.append(news))
    stages = [stage for stage, *_ in seen]
    assert list(dict.fromkeys(stages)) == ["frames", "tokens", "denoise"]
    assert [news[1:] for news in seen if news[0] == "frames"] == [(22, 22), (9, 9)]
    steps = [news[1:] for news in seen if news[0] == "denoise"]
    assert steps == [(i + 1, len(steps)) for i in range(len(steps))]

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "tokens" and done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(tiny_video.moving(22), "rain", callback=stop)
    assert np.isfinite(pipeline(tiny_video.moving(9), "rain").audios[0]).all()


# Bad input


def _not_a_video(path: Path) -> None:
    path.write_text("this is no video")


def _noise(path: Path) -> None:
    path.write_bytes(np.random.default_rng(0).bytes(20_000))


def _truncated(path: Path) -> None:
    write_video(path, np.random.default_rng(0).integers(0, 255, (60, 64, 64, 3), dtype=np.uint8), 25)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _headless(path: Path) -> None:
    _truncated(path)
    path.write_bytes(path.read_bytes()[:300])


def _no_frames(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 32, 32, "yuv420p"
        container.start_encoding()


def _only_sound(path: Path) -> None:
    soundfile.write(path, np.zeros(16_000), 16_000, format="WAV")


def _empty(path: Path) -> None:
    path.touch()


def _missing(path: Path) -> None:
    pass


@pytest.mark.parametrize(
    "spoil", [_not_a_video, _noise, _truncated, _headless, _no_frames, _only_sound, _empty, _missing]
)
def test_bad_files_are_refused_and_nothing_is_written(
    pipeline: VideoToAudioPipeline, tmp_path: Path, spoil: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "bad.mp4"
    spoil(path)
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(MediaError, match=r"bad\.mp4"):
        pipeline([tiny_video.moving(2), path], "rain", num_inference_steps=1)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_8k_frame_is_a_video(pipeline: VideoToAudioPipeline, tmp_path: Path) -> None:
    write_video(tmp_path / "8k.mp4", np.zeros((1, 4320, 7680, 3), np.uint8), 25)
    assert len(pipeline(tmp_path / "8k.mp4", "rain", num_inference_steps=1).audios[0]) == 640


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"visual_scale": -0.5}, "visual_scale is -0.5; give a number from 0 on"),
        ({"visual_scale": float("nan")}, "visual_scale is nan"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": [1, 2]}, "seed holds 2 entries"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"guidance_scale": float("inf")}, "guidance_scale is inf"),
        ({"caption": "rain " * 300}, "1500 characters|1499 characters"),
        ({"caption": ["rain", "wind"]}, "1 videos and 2 captions"),
        ({"video": []}, "0 videos"),
        ({"video": np.zeros((0, 8, 8, 3), np.uint8)}, r"frames are \(0, 8, 8, 3\)"),
        ({"video": np.zeros((8, 8, 3), np.uint8)}, r"frames are \(8, 8, 3\)"),
        ({"video": np.zeros((4, 8, 8, 3), np.float32)}, "float32"),
        ({"video": np.zeros((12_901, 1, 1, 3), np.uint8)}, "the length of the video is 600.0"),
    ],
)
def test_wrong_arguments_are_refused_before_the_work(
    pipeline: VideoToAudioPipeline, arguments: dict[str, Any], message: str
) -> None:
    def never(stage: str, done: int, total: int) -> None:
        raise AssertionError(f"{stage} began")

    with pytest.raises(ValueError, match=message):
        pipeline(**{"video": tiny_video.moving(3), "caption": "rain", "callback": never, **arguments})


def test_lists_of_different_lengths_are_no_render(pipeline: VideoToAudioPipeline) -> None:
    with pytest.raises(ValueError, match="1 sounds have 2 captions"):
        pipeline.render([torch.zeros(10, dtype=torch.int64)], ["rain", "wind"], [0.2, 0.2])
