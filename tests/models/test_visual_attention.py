"""The visual branch inside the UNet: equation (3) in double precision, masks, gradients, time, the base left alone."""

import math
import warnings
from typing import Any

import pytest
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import Tensor, nn

from audio_agent_zoo.models.visual_adapter import Positions, VisualAdapter
from audio_agent_zoo.models.visual_attention import VisualCondition
from tests import tiny
from tests.tiny_video import N_TOKENS, attached, condition, denoised, text_attentions, unet_inputs

POSITIONS: list[Positions] = ["sinusoidal", "relative", "none"]


# What stays as it was


@pytest.mark.parametrize("positions", POSITIONS)
def test_scale_zero_and_no_video_are_the_base_bit_for_bit(positions: Positions) -> None:
    latents, text, centroids = unet_inputs()
    with torch.no_grad():
        base = tiny.unet()(latents, 400, text).sample
        unet, adapter = attached(positions)
        assert torch.equal(unet(latents, 400, text).sample, base)
        assert torch.equal(denoised(unet, latents, text, None), base)
        assert torch.equal(denoised(unet, latents, text, condition(adapter, centroids, 0.0)), base)
        steered = denoised(unet, latents, text, condition(adapter, centroids))
        assert (steered - base).abs().max() > 1e-3
        assert not torch.equal(steered, denoised(unet, latents, text, condition(adapter, centroids, 0.25)))
        adapter.detach(unet)
        assert all(type(one) is AttnProcessor2_0 for one in unet.attn_processors.values())
        assert torch.equal(unet(latents, 400, text).sample, base)


def test_nobody_is_warned_about_the_condition(caplog: pytest.LogCaptureFixture) -> None:
    from diffusers.utils import logging as diffusers_logging

    unet, adapter = attached()
    latents, text, centroids = unet_inputs()
    diffusers_logging.enable_propagation()
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("error")
            denoised(unet, latents, text, condition(adapter, centroids))
    finally:
        diffusers_logging.disable_propagation()
    assert not caplog.records


# Equation (3)


def reference(
    layer: Any, adapter: VisualAdapter, index: int, hidden: Tensor, text: Tensor, visual: Tensor, scale: float
) -> Tensor:
    """Equation (3) of one layer, head by head in double precision."""

    def attention(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        size = query.shape[-1] // layer.heads
        heads = []
        for head in range(layer.heads):
            own = slice(head * size, (head + 1) * size)
            scores = query[..., own] @ key[..., own].transpose(1, 2) / math.sqrt(size)
            heads.append(scores.softmax(-1) @ value[..., own])
        return torch.cat(heads, -1)

    def linear(module: nn.Linear, states: Tensor) -> Tensor:
        out = states @ module.weight.double().T
        return out if module.bias is None else out + module.bias.double()

    hidden, text, visual = hidden.double(), text.double(), visual.double()
    query = linear(layer.to_q, hidden)
    mixed = attention(query, linear(layer.to_k, text), linear(layer.to_v, text))
    to_k, to_v = adapter.to_k_ip[index], adapter.to_v_ip[index]
    assert isinstance(to_k, nn.Linear) and isinstance(to_v, nn.Linear)
    mixed = mixed + scale * attention(query, linear(to_k, visual), linear(to_v, visual))
    return linear(layer.to_out[0], mixed)


@pytest.mark.parametrize("scale", [0.25, 0.5, 1.0, 3.0])
def test_every_layer_is_equation_three(scale: float) -> None:
    unet, adapter = attached()
    latents, text, centroids = unet_inputs()
    seen: list[tuple[Any, Tensor, Tensor]] = []

    def record(layer: nn.Module, arguments: tuple[Any, ...], out: Tensor) -> None:
        seen.append((layer, arguments[0], out))

    layers = text_attentions(unet)
    for layer in layers:
        layer.register_forward_hook(record)
    visual = condition(adapter, centroids, scale)
    with torch.no_grad():
        denoised(unet, latents, text, visual)
        states = adapter.image_proj(adapter.timed(centroids))
        assert len(seen) == len(layers) == len(adapter.to_k_ip) >= 3
        for layer, hidden, out in seen:
            expected = reference(layer, adapter, layers.index(layer), hidden, text, states, scale)
            torch.testing.assert_close(out.double(), expected, atol=2e-5, rtol=1e-4)
            without = reference(layer, adapter, layers.index(layer), hidden, text, states, 0.0)
            assert (out - without).abs().max() > 1e-2


def test_text_masks_still_hold() -> None:
    unet, adapter = attached()
    latents, text, centroids = unet_inputs()
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]])
    garbage = text.clone()
    garbage[0, 3:] = 50.0
    visual = {"visual": condition(adapter, centroids)}
    with torch.no_grad():
        outs = [
            unet(latents, 400, states, encoder_attention_mask=mask, cross_attention_kwargs=visual).sample
            for states in (text, garbage)
        ]
        free = denoised(unet, latents, garbage, visual["visual"])
    torch.testing.assert_close(outs[0], outs[1])
    assert (free - outs[1]).abs().max() > 1e-3


@pytest.mark.parametrize("positions", POSITIONS)
def test_what_lies_in_masked_tokens_changes_nothing(positions: Positions) -> None:
    unet, adapter = attached(positions)
    latents, text, centroids = unet_inputs()
    mask = torch.arange(N_TOKENS)[None] < torch.tensor([[5], [N_TOKENS]])
    garbage = centroids.clone()
    garbage[0, 5:] = 1e4
    hopeless = centroids.clone()
    hopeless[0, 5:] = torch.nan
    with torch.no_grad():
        clean = denoised(unet, latents, text, condition(adapter, centroids, mask=mask))
        for states in (garbage, hopeless):
            assert torch.equal(denoised(unet, latents, text, condition(adapter, states, mask=mask)), clean)
        unmasked = denoised(unet, latents, text, condition(adapter, centroids))
        assert (clean[0] - unmasked[0]).abs().max() > 1e-3
        torch.testing.assert_close(clean[1], unmasked[1])
        # Masked is as if the tokens were not there.
        short = denoised(unet, latents[:1], text[:1], condition(adapter, centroids[:1, :5]))
        torch.testing.assert_close(clean[:1], short, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("positions", POSITIONS)
def test_a_dropped_video_and_one_without_tokens_are_the_same(positions: Positions) -> None:
    unet, adapter = attached(positions)
    latents, text, centroids = unet_inputs()
    dropped = torch.tensor([True, False])
    with torch.no_grad():
        out = denoised(unet, latents, text, condition(adapter, centroids, dropped=dropped))
        other = denoised(unet, latents, text, condition(adapter, centroids.flip(0), dropped=dropped))
        plain = denoised(unet, latents, text, condition(adapter, centroids))
        nothing = torch.ones(2, N_TOKENS, dtype=torch.bool)
        nothing[0] = False
        masked = denoised(unet, latents, text, condition(adapter, centroids, mask=nothing))
    assert torch.equal(out[0], other[0]) and (out[1] - other[1]).abs().max() > 1e-3
    assert (out[0] - plain[0]).abs().max() > 1e-3
    torch.testing.assert_close(out[1], plain[1])
    torch.testing.assert_close(masked, out, atol=1e-5, rtol=1e-4)


# Training


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("positions", POSITIONS)
def test_only_the_adapter_learns(positions: Positions, checkpointing: bool) -> None:
    grads = []
    for checkpoint in {False, checkpointing}:
        unet, adapter = attached(positions)
        if checkpoint:
            unet.enable_gradient_checkpointing()
        unet.train()
        latents, text, centroids = unet_inputs()
        mask = torch.arange(N_TOKENS)[None] < torch.tensor([[9], [N_TOKENS]])
        denoised(unet, latents, text, condition(adapter, centroids, mask=mask)).square().mean().backward()
        assert all(parameter.grad is None for parameter in unet.parameters())
        for name, parameter in adapter.named_parameters():
            assert parameter.grad is not None and parameter.grad.abs().max() > 0, name
        grads.append([parameter.grad for parameter in adapter.parameters()])
    for a, b in zip(grads[0], grads[-1], strict=True):
        torch.testing.assert_close(a, b)


def test_gradients_are_those_of_finite_differences() -> None:
    unet, adapter = attached("relative")
    unet, adapter = unet.double(), adapter.double()
    latents, text, centroids = (one.double() for one in unet_inputs())
    weight = adapter.to_v_ip[0].weight
    assert isinstance(weight, nn.Parameter)

    def loss() -> Tensor:
        return denoised(unet, latents, text, condition(adapter, centroids)).square().mean()

    loss().backward()
    assert weight.grad is not None
    with torch.no_grad():
        for place in ((0, 0), (3, 7)):
            step = torch.zeros_like(weight)
            step[place] = 1e-5
            weight += step
            above = loss()
            weight -= 2 * step
            below = loss()
            weight += step
            assert float(weight.grad[place]) == pytest.approx(float((above - below) / 2e-5), rel=1e-4)


def test_half_precision_and_autocast() -> None:
    unet, adapter = attached("relative")
    latents, text, centroids = unet_inputs()
    mask = torch.arange(N_TOKENS)[None] < torch.tensor([[5], [N_TOKENS]])
    with torch.no_grad():
        full = denoised(unet, latents, text, condition(adapter, centroids, mask=mask))
        with torch.autocast("cpu", torch.bfloat16):
            mixed = denoised(unet, latents, text, condition(adapter, centroids, mask=mask))
        nn.Module.to(unet, torch.bfloat16)
        # The adapter stays in float32 beside a base of half precision.
        half = denoised(unet, latents.bfloat16(), text.bfloat16(), condition(adapter, centroids, mask=mask))
    assert half.dtype == torch.bfloat16
    for coarse in (mixed, half):
        assert (coarse.float() - full).square().mean() < 1e-3 * full.square().mean()


# Time


@pytest.mark.parametrize(("columns", "rows"), [(8, 4), (16, 4), (5, 3), (16, 1), (1, 1)])
def test_the_bias_in_time_is_symmetric_and_highest_at_the_right_column(columns: int, rows: int) -> None:
    heads, tokens = 4, 2 * columns
    states = torch.zeros(1, tokens, tiny.WIDTH)
    visual = VisualCondition(states, 1.0, window_s=tokens / 50, aspect=columns / rows, token_s=1 / 50)
    bias = visual.bias(rows * columns, heads)
    assert bias is not None and bias.shape == (1, heads, rows * columns, tokens)
    image = bias.reshape(heads, rows, columns, tokens)
    assert torch.equal(image, image[:, :1].expand_as(image)), "the rows of a column are one instant"
    # Both ends of the window are alike.
    torch.testing.assert_close(image, image.flip(2).flip(3))
    # Two tokens to a column: both of its own are nearest, and equally near.
    at = image[:, 0]
    for column in range(columns):
        near = at[:, column]
        assert torch.equal(near.argmax(-1) // 2, torch.full((heads,), column))
        torch.testing.assert_close(near[:, 2 * column], near[:, 2 * column + 1])
        for away in range(1, min(column, columns - 1 - column) + 1):
            torch.testing.assert_close(near[:, 2 * (column - away)], near[:, 2 * (column + away) + 1])
    if columns > 1:
        # The first head looks nearest, 30 ms for a factor of e, the last one farthest, 0.8 s.
        assert (at[1:, 0, -1] > at[:-1, 0, -1]).all()
        seconds = abs(0.5 / columns * tokens / 50 - (tokens - 0.5) / 50)
        torch.testing.assert_close(at[[0, -1], 0, -1], torch.tensor([-seconds / 0.03, -seconds / 0.8]))


def test_the_bias_survives_sides_that_the_unet_rounds_up() -> None:
    unet, adapter = attached("relative")
    for rows, columns in ((3, 8), (5, 7), (1, 9), (4, 1)):
        latents, text, centroids = unet_inputs(1, rows, columns)
        visual = adapter.condition(centroids, scale=1.0, window_s=N_TOKENS / 50, aspect=columns / rows)
        with torch.no_grad():
            assert torch.isfinite(denoised(unet, latents, text, visual)).all()
    deep = VisualCondition(torch.zeros(1, 6, 8), 1.0, window_s=0.12, aspect=64 / 3, token_s=1 / 50)
    bias = deep.bias(16, 2)  # 3 x 64 halved twice is 1 x 16
    assert bias is not None
    assert bias[0, 0].argmax(-1).tolist() == sorted(bias[0, 0].argmax(-1).tolist())
    assert bias[0, 0, 0].argmax() == 0 and bias[0, 0, -1].argmax() == 5


@pytest.mark.parametrize("positions", POSITIONS)
def test_order_counts_unless_positions_are_off(positions: Positions) -> None:
    unet, adapter = attached(positions)
    latents, text, centroids = unet_inputs()
    with torch.no_grad():
        forth = denoised(unet, latents, text, condition(adapter, centroids))
        back = denoised(unet, latents, text, condition(adapter, centroids.flip(1)))
    if positions == "none":
        torch.testing.assert_close(forth, back, atol=1e-5, rtol=1e-4)
    else:
        assert (forth - back).abs().max() > 1e-3
