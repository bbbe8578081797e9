"""The temporal connector: order, padding, alignment with tokens, and the ablation's bare projection."""

from pathlib import Path

import pytest
import torch

from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.rates import FRAME_RATE, SEMANTIC_TOKEN_RATE, n_semantic_tokens, n_video_frames

FRAMES = 43  # two seconds


def connector(**values: bool | int) -> TemporalConnector:
    torch.manual_seed(3)
    return TemporalConnector(**{"frame_dim": 12, "llm_dim": 20, **values}).eval()


@pytest.mark.parametrize(("aligned", "outputs"), [(False, FRAMES), (True, 100)])
def test_as_many_embeddings_as_frames_or_as_tokens(aligned: bool, outputs: int) -> None:
    model = connector(token_aligned=aligned)
    embedded = model(torch.randn(2, FRAMES, 12), 100)
    assert embedded.shape == (2, outputs, 20)
    assert model.n_outputs(FRAMES, 100) == outputs


def test_a_bare_projection_is_one_per_frame_and_sees_nothing_else() -> None:
    model = connector(temporal=False, token_aligned=True)
    frames = torch.randn(1, FRAMES, 12)
    order = torch.randperm(FRAMES)
    assert not list(model.blocks)
    torch.testing.assert_close(model(frames[:, order], 100), model(frames, 100)[:, order])


def test_a_convolution_reads_order() -> None:
    model, frames = connector(), torch.randn(1, FRAMES, 12)
    order = torch.arange(FRAMES).flip(0)
    assert (model(frames[:, order], 100)[:, order] - model(frames, 100)).abs().max() > 1e-2


def test_a_change_reaches_its_neighbours_alone() -> None:
    model, frames = connector(n_blocks=2, kernel_size=3), torch.randn(1, FRAMES, 12)
    other = frames.clone()
    other[:, 20] += torch.randn(12)
    changed = (model(other, 100) - model(frames, 100)).abs().amax(-1)[0] > 1e-6
    # Two blocks of two convolutions of three frames each see four frames to either side.
    assert changed.nonzero().flatten().tolist() == list(range(16, 25))


@pytest.mark.parametrize("aligned", [False, True])
def test_padding_changes_nothing(aligned: bool) -> None:
    model, frames = connector(token_aligned=aligned), torch.randn(1, FRAMES, 12)
    padded = torch.cat([frames, torch.randn(1, 7, 12) * 9], dim=1)
    mask = torch.arange(FRAMES + 7)[None] < FRAMES
    n_tokens = n_semantic_tokens((FRAMES - 1) / FRAME_RATE)
    alone, beside = model(frames, n_tokens), model(padded, n_tokens, mask)
    torch.testing.assert_close(beside[:, : alone.shape[1]], alone)


def test_aligned_embeddings_lie_between_the_frames_around_their_instant() -> None:
    model = connector(token_aligned=True, n_blocks=0)
    ramp = torch.arange(FRAMES, dtype=torch.float32).view(1, -1, 1).expand(1, FRAMES, 12)
    seen: list[torch.Tensor] = []
    handle = model.projection.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(ramp, 90)
    handle.remove()
    instants = (torch.arange(90) + 0.5) / SEMANTIC_TOKEN_RATE * FRAME_RATE
    torch.testing.assert_close(seen[0][0, :, 0], instants, atol=1e-4, rtol=0)


@pytest.mark.parametrize("aligned", [False, True])
def test_a_stretch_is_that_part_of_the_whole_and_its_end_is_held(aligned: bool) -> None:
    model = connector(token_aligned=aligned)
    whole = model(torch.randn(1, FRAMES, 12), 100)
    part = model.stretch(whole, 25, 50)
    first, count = (25, 50) if aligned else (round(0.5 * FRAME_RATE), n_video_frames(1.0))
    torch.testing.assert_close(part, whole[:, first : first + count])
    beyond = model.stretch(whole, 90, 50)
    torch.testing.assert_close(beyond[:, -1], whole[:, -1])


def test_embeddings_start_at_the_scale_of_the_language_model() -> None:
    model, words = connector(), torch.randn(500, 20) * 3.7
    model.match_scale(words)
    assert model(torch.randn(4, FRAMES, 12), 100).square().mean().sqrt().item() == pytest.approx(3.7, rel=0.05)


@pytest.mark.parametrize("temporal", [True, False])
def test_it_comes_back_from_a_folder(tmp_path: Path, temporal: bool) -> None:
    model = connector(temporal=temporal, hidden_dim=8)
    model.save_pretrained(tmp_path)
    again = TemporalConnector.from_pretrained(tmp_path).eval()
    frames = torch.randn(1, FRAMES, 12)
    assert torch.equal(again(frames, 100), model(frames, 100))


def test_an_even_kernel_is_refused() -> None:
    with pytest.raises(ValueError, match="kernel_size is 4; give an odd one"):
        connector(kernel_size=4)


def test_its_size_at_the_papers_dimensions() -> None:
    with torch.device("meta"):
        n_parameters = sum(p.numel() for p in TemporalConnector().parameters())
    assert n_parameters == 14_957_313  # two blocks of 1024, projection to 2304; model_cards/semantic-token-lm.md
