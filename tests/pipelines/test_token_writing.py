"""Long videos: stretches side by side, joined where they agree."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor

from audio_agent_zoo.pipelines import token_writing
from audio_agent_zoo.pipelines.token_writing import TokenWriter, _joined
from audio_agent_zoo.pipelines.video_to_audio_parts import VideoToAudioParts
from audio_agent_zoo.rates import SEMANTIC_TOKEN_RATE, n_video_frames
from tests import tiny, tiny_video

LENGTH, STRETCH, CONTEXT = 230, 50, 10


@pytest.fixture(scope="module")
def parts() -> VideoToAudioParts:
    return tiny_video.video_parts(tiny.parts().unet)


@pytest.fixture
def short_stretches(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(token_writing, "STRETCH_TOKENS", STRETCH)
    yield


def _frames(length: int, seed: int) -> Tensor:
    shape = (n_video_frames(length / SEMANTIC_TOKEN_RATE), tiny_video.FRAME_DIM)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def _written(parts: VideoToAudioParts, n: int = 1, length: int = LENGTH, **more: object) -> Tensor:
    videos = [_frames(length, seed) for seed in range(n)]
    return TokenWriter(parts).write(videos, ["a dog barks"] * n, list(range(n)), length, **more)  # type: ignore[arg-type]


def test_each_stretch_is_what_a_video_from_its_context_on_would_be(
    parts: VideoToAudioParts, short_stretches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = list[Tensor]()
    windows = TokenWriter._windows

    def keep(self: TokenWriter, *arguments: object) -> Tensor:
        made.append(windows(self, *arguments))  # type: ignore[arg-type]
        return made[-1]

    monkeypatch.setattr(TokenWriter, "_windows", keep)
    (tokens,) = _written(parts)
    (stretches,) = made
    assert stretches.shape == (4, 58 + CONTEXT) and tokens.shape == (LENGTH,), "230 tokens are four stretches of 58"
    whole = TokenWriter(parts)._windows  # from the very start there is nothing to tell the two apart
    embedded = parts.connector(_frames(LENGTH, 0)[None], LENGTH)
    with torch.inference_mode():
        alone = whole([embedded], [0], ["a dog barks"], [0], LENGTH, lambda done: None)
    assert torch.equal(alone[0, : 58 - CONTEXT], tokens[: 58 - CONTEXT])
    # What follows a seam is the later stretch's own, up to the next one.
    for k in (1, 2, 3):
        start = 58 * k - CONTEXT
        last = min(LENGTH, 58 * (k + 1) - CONTEXT)
        assert torch.equal(tokens[58 * k + CONTEXT : last], stretches[k, 2 * CONTEXT : last - start])


def test_stretches_change_places_at_the_last_token_both_agree_on() -> None:
    first, second = torch.tensor([1, 1, 1, 5, 6, 7, 8]), torch.tensor([4, 5, 6, 0, 0, 2, 3])
    assert _joined([first, second], [2, 2][:2], 9).tolist() == [1, 1, 1, 5, 6, 0, 0, 2, 3]
    other = torch.tensor([9, 9, 9, 9, 9, 2, 3])
    assert _joined([first, other], [0, 2], 9).tolist() == [1, 1, 1, 5, 6, 7, 8, 2, 3], "nowhere: at the very end"
    assert _joined([first], [0], 5).tolist() == [1, 1, 1, 5, 6]


def test_several_long_videos_are_written_as_each_alone(parts: VideoToAudioParts, short_stretches: None) -> None:
    together = _written(parts, n=3)
    for i in range(3):
        frames = [_frames(LENGTH, i)]
        with torch.inference_mode():
            alone = TokenWriter(parts).write(frames, ["a dog barks"], [i], LENGTH)
        assert torch.equal(together[i], alone[0])


@pytest.mark.parametrize("length", [99, 100, 101, 149, 151, 200])
def test_any_length_comes_out_exactly_and_the_progress_reaches_its_end(
    length: int, parts: VideoToAudioParts, short_stretches: None
) -> None:
    told = list[tuple[int, int]]()
    tokens = _written(parts, length=length, callback=lambda done, total: told.append((done, total)))
    assert tokens.shape == (1, length) and int(tokens.min()) >= 0 and int(tokens.max()) < tiny_video.N_AUDIO
    assert told[-1][0] == told[-1][1] and [done for done, _ in told] == sorted(done for done, _ in told)


def test_no_more_stretches_at_once_than_memory_allows(
    parts: VideoToAudioParts, short_stretches: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = _written(parts)
    told = list[tuple[int, int]]()
    monkeypatch.setattr(token_writing, "_ROWS", 3)
    tokens = _written(parts, callback=lambda done, total: told.append((done, total)))
    assert torch.equal(tokens, whole)
    assert told[-1] == (2 * (58 + CONTEXT),) * 2
