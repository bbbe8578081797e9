"""Offloading: one network at a time on the device, in the order of the work, and back after an error."""

import numpy as np
import pytest
import torch

from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from tests import tiny


@pytest.fixture()
def pipeline() -> TextToAudioPipeline:
    return TextToAudioPipeline(tiny.parts())


def test_offloading_without_a_gpu_is_refused(pipeline: TextToAudioPipeline) -> None:
    with pytest.raises(ValueError, match="needs a GPU"):
        pipeline.enable_model_cpu_offload("cpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="this machine lacks"):
            pipeline.enable_model_cpu_offload()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_offloading_keeps_one_network_on_the_gpu(pipeline: TextToAudioPipeline) -> None:
    expected = pipeline("rain", 0.5, seed=2).audios[0]
    pipeline.enable_model_cpu_offload()
    np.testing.assert_allclose(pipeline("rain", 0.5, seed=2).audios[0], expected, atol=5e-3)
    parts = pipeline.parts
    for network in (parts.conditioning, parts.unet, parts.vae, parts.vocoder):
        assert {p.device.type for p in network.parameters()} == {"cpu"}


def test_networks_take_turns(pipeline: TextToAudioPipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order of the moves, with the CPU in the place of the device: it shows without a GPU."""
    moves: list[tuple[str, str]] = []
    for name in ("conditioning", "unet", "vae", "vocoder"):
        network = getattr(pipeline.parts, name)

        def move(device: object, name: str = name) -> None:
            moves.append((name, "back" if device == "cpu" else "out"))

        monkeypatch.setattr(network, "to", move)
    expected = pipeline("rain", 0.2).audios[0]
    assert not moves
    monkeypatch.setattr(pipeline, "_offload_to", torch.device("cpu", 0))
    assert np.array_equal(pipeline("rain", 0.2).audios[0], expected)
    turns = [(name, way) for name in ("conditioning", "unet", "vae", "vocoder") for way in ("out", "back")]
    assert moves == turns
    moves.clear()

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline("rain", 0.2, callback=stop)
    assert moves == turns[:4]
