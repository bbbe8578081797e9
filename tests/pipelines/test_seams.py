"""Where two windows of a long sound meet, nothing stands out."""

import numpy as np
import pytest
import torch

from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.windows import cut_into_windows, overlap_columns

pytestmark = pytest.mark.slow

RATE = 16_000


def levels_db(audio: np.ndarray, width_s: float = 0.32) -> np.ndarray:
    """Level in dB of stretches as wide as half a cross-fade."""
    n = int(width_s * RATE)
    parts = audio[: len(audio) // n * n].reshape(-1, n)
    return 10 * np.log10(np.square(parts).mean(1) + 1e-12)


@pytest.mark.parametrize("prompt", ["rain falling", "a stream flowing", "wind"])
def test_the_level_at_a_seam_is_that_of_anywhere(prompt: str) -> None:
    pipeline = TextToAudioPipeline.from_pretrained("foley-mini")
    duration_s, native = 27.0, pipeline.parts.generation.native_columns
    windows = cut_into_windows(
        0, 2700, 0, multiple=pipeline.parts.width_multiple, min_columns=128, native_columns=native
    )
    assert len(windows) == 3
    with torch.inference_mode():
        audio = pipeline(prompt, duration_s, seed=4).audios[0]
    levels = levels_db(audio)
    overlap_s = overlap_columns(native) / 100
    seams = [int((window.start / 100 + overlap_s / 2) / 0.32) for window in windows[1:]]
    steps = np.abs(np.diff(levels))
    inside = np.concatenate([steps[max(0, seam - 1) : seam + 2] for seam in seams])
    rest = np.delete(steps, [i for seam in seams for i in range(max(0, seam - 1), seam + 2)])
    print(f"\n{prompt}: largest level step at a seam {inside.max():.1f} dB, elsewhere {rest.max():.1f} dB")
    assert inside.max() <= rest.max() + 1.0
