"""Ratios of one run: a plan of six events against the naive loop, the default solver against 100 PNDM steps.

Run with `pytest -m benchmark tests/benchmarks -s`.
"""

from time import perf_counter

import pytest
from diffusers import PNDMScheduler

from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline

pytestmark = pytest.mark.benchmark

PROMPTS = ["rain falling", "a dog barks", "a church bell rings", "a car honks", "glass breaks", "a cat meows"]
LENGTHS_S = [10.0, 4.0, 3.0, 2.0, 1.5, 1.0]


def test_six_events_against_one_at_a_time_at_full_width() -> None:
    pipeline = TextToAudioPipeline.from_pretrained("foley-mini")
    pipeline(PROMPTS[:1], 1.0)
    started = perf_counter()
    pipeline(PROMPTS, LENGTHS_S)
    ours = perf_counter() - started
    started = perf_counter()
    for prompt in PROMPTS:
        pipeline(prompt, 10.24)
    ratio = ours / (perf_counter() - started)
    print(f"\nsix events, planned widths / naive loop: {ratio:.2f} of its time")
    assert ratio <= 0.5


def test_default_solver_against_pndm() -> None:
    pipeline = TextToAudioPipeline.from_pretrained("foley-mini")
    pipeline(PROMPTS[:1], 1.0)
    ours = pipeline(PROMPTS, 2.56).seconds["denoise"]
    pipeline.scheduler = PNDMScheduler.from_config(pipeline.scheduler.config)
    ratio = ours / pipeline(PROMPTS, 2.56, num_inference_steps=100).seconds["denoise"]
    print(f"\ndenoising, default solver / 100 PNDM steps: {ratio:.3f} of its time")
    assert ratio <= 0.15
