"""The pipeline on tiny weights in all public layouts: against diffusers, against formulas, in any batch."""

import math
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DDIMScheduler,
    DPMSolverMultistepScheduler,
    EulerAncestralDiscreteScheduler,
    PNDMScheduler,
    StableDiffusionPipeline,
    UniPCMultistepScheduler,
)
from torch import Tensor

from audio_agent_zoo.errors import RenderError, WeightsError
from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline
from audio_agent_zoo.pipelines.text_to_audio_parts import TextToAudioParts
from tests import tiny


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_stock(tmp_path_factory.mktemp("stock"))


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.write_adapted(tmp_path_factory.mktemp("adapted"), 2)


@pytest.fixture()
def pipeline() -> TextToAudioPipeline:
    return TextToAudioPipeline(tiny.parts())


def noise(seed: int, width: int) -> Tensor:
    shape = (1, 4, tiny.N_MELS // 4, width // 4)
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def sound_of(image: Tensor, pipeline: TextToAudioPipeline, n_samples: int) -> np.ndarray:
    """Waveform of an image `(1, 3, bands, columns)` in [0, 1], by the written formulas."""
    low, high = math.log(1e-5), math.log(200.0)
    mel = torch.flip(image[:, 0].clamp(0, 1), dims=(1,)) * (high - low) + low
    with torch.no_grad():
        return np.asarray(pipeline.vocoder(mel)[0, :n_samples])


@pytest.mark.parametrize("kind", [DPMSolverMultistepScheduler, PNDMScheduler, DDIMScheduler])
def test_stock_layout_equals_the_stable_diffusion_pipeline(stock: Path, kind: type) -> None:
    ours = TextToAudioPipeline.from_pretrained(stock)
    ours.scheduler = kind.from_config(ours.scheduler.config)
    theirs = StableDiffusionPipeline.from_pretrained(stock, safety_checker=None, feature_extractor=None)
    theirs.scheduler = kind.from_config(theirs.scheduler.config)
    theirs.set_progress_bar_config(disable=True)
    image = theirs(
        "a dog barks",
        negative_prompt="rain",
        height=tiny.N_MELS,
        width=64,
        num_inference_steps=4,
        guidance_scale=3.0,
        latents=noise(7, 64),
        output_type="pt",
    ).images
    made = ours(
        "a dog barks",
        0.48,
        negative_prompt="rain",
        num_inference_steps=4,
        guidance_scale=3.0,
        seed=7,
        min_columns=8,
    ).audios[0]
    expected = sound_of(image, ours, 7680)
    assert np.abs(expected).mean() > 0.02
    assert np.abs(made - expected).max() < 2e-4


def test_adapter_layout_is_guided_away_from_zeros(adapted: Path) -> None:
    """The same steps written out: both encoders' tokens, an empty condition of zeros, then DDIM's formula."""
    ours = TextToAudioPipeline.from_pretrained(adapted)
    ours.scheduler = DDIMScheduler.from_config(ours.scheduler.config, clip_sample=False)
    made = ours("rain", 0.32, num_inference_steps=3, guidance_scale=4.0, seed=3, min_columns=8).audios[0]
    parts = ours.parts
    schedule = DDIMScheduler.from_config(parts.scheduler.config)
    schedule.set_timesteps(3)
    alphas = schedule.alphas_cumprod.double()
    latents = noise(3, 32).double()
    with torch.no_grad():
        condition = parts.conditioning(["rain"])
        for step in schedule.timesteps:
            both = torch.cat([latents] * 2).float()
            states = torch.cat([torch.zeros_like(condition), condition])
            without, with_text = parts.unet(both, step, states).sample.double().chunk(2)
            predicted = without + 4.0 * (with_text - without)
            now, before = alphas[step], alphas[max(int(step) - 1000 // 3, 0)]
            clean = (latents - (1 - now).sqrt() * predicted) / now.sqrt()
            latents = before.sqrt() * clean + (1 - before).sqrt() * predicted
        decoded = parts.vae.decode(latents.float() / parts.vae.config.scaling_factor).sample
    expected = sound_of(decoded / 2 + 0.5, ours, 5120)
    assert np.abs(made - expected).max() < 2e-4


@pytest.mark.parametrize("n_encoders", [1, 2])
def test_adapter_layouts_load_and_save(tmp_path: Path, n_encoders: int) -> None:
    public = TextToAudioPipeline.from_pretrained(tiny.write_adapted(tmp_path / "b", n_encoders))
    assert public.parts.generation.min_columns == 1024
    assert isinstance(public.scheduler, DPMSolverMultistepScheduler)
    assert public.scheduler.config.prediction_type == "epsilon"
    public.save_pretrained(tmp_path / "c")
    again = TextToAudioPipeline.from_pretrained(tmp_path / "c")
    assert not [*(tmp_path / "c").rglob("*.bin"), *(tmp_path / "c").rglob("*.pt")]
    for text in (path.read_text() for path in (tmp_path / "c").rglob("*.json")):
        assert str(tmp_path) not in text
    first, second = (one("rain", 0.2, num_inference_steps=2, min_columns=8).audios[0] for one in (public, again))
    np.testing.assert_allclose(first, second, atol=1e-6)


DURATIONS = [0.005, 0.01, 0.1, 0.333, 0.64, 0.6400625, 0.65, 1.0, 1.2345678, 2.0]


def test_lengths_are_exact_and_values_in_range(pipeline: TextToAudioPipeline) -> None:
    made = pipeline(["rain"] * len(DURATIONS), DURATIONS, seed=list(range(len(DURATIONS))))
    assert [len(audio) for audio in made.audios] == [round(d * 16_000) for d in DURATIONS]
    assert made.sample_rate == 16_000 and made.seeds == list(range(len(DURATIONS)))
    for audio in made.audios:
        assert audio.dtype == np.float32 and audio.shape == (len(audio),)
        assert np.abs(audio).max() <= 1.0 and np.abs(audio).max() > 0
    assert set(made.seconds) == {"text", "denoise", "decode", "vocode"}
    assert all(value > 0 for value in made.seconds.values())


@pytest.mark.parametrize("kind", [DPMSolverMultistepScheduler, EulerAncestralDiscreteScheduler])
def test_a_sound_does_not_depend_on_its_batch(pipeline: TextToAudioPipeline, kind: type) -> None:
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    prompts = ["a dog barks", "rain", "rain", "a dog barks in the rain", "thunder", "rain"]
    durations = [0.2, 0.6, 0.23, 1.5, 0.2, 0.2]
    negatives = ["", "dog", "", "wind", "", ""]
    seeds = [1, 2, 3, 4, 5, 1]
    together = pipeline(prompts, durations, negative_prompt=negatives, seed=seeds).audios
    small = pipeline(prompts, durations, negative_prompt=negatives, seed=seeds, max_batch_columns=1).audios
    for i, audio in enumerate(together):
        alone = pipeline(prompts[i], durations[i], negative_prompt=negatives[i], seed=seeds[i]).audios[0]
        np.testing.assert_allclose(audio, alone, atol=2e-5)
        np.testing.assert_allclose(audio, small[i], atol=2e-5)
    assert np.abs(together[0] - together[5]).max() > 1e-3


def test_calls_leave_nothing_behind(pipeline: TextToAudioPipeline) -> None:
    first = pipeline("rain", 0.2, seed=5).audios[0]
    pipeline("thunder", 0.3, num_inference_steps=5, seed=6)
    assert np.array_equal(first, pipeline("rain", 0.2, seed=5).audios[0])
    assert not np.array_equal(first, pipeline("rain", 0.2, seed=6).audios[0])


def test_long_sounds_start_like_short_ones_and_fade_between_windows(pipeline: TextToAudioPipeline) -> None:
    window = 64 * 160
    with torch.no_grad():
        pipeline.vocoder.conv_post.weight.mul_(0.2)  # so quiet that no cross-fade leaves [-1, 1]
    long = pipeline("rain", 1.5, seed=9).audios[0]
    native = pipeline("rain", 0.64, seed=9).audios[0]
    overlap = 16 * 160
    np.testing.assert_allclose(long[: window - overlap], native[: window - overlap], atol=1e-5)
    step = window - overlap
    assert np.abs(long[step + overlap : 2 * step] - native[overlap:step]).max() > 1e-3, "own noise per window"
    jumps = np.abs(np.diff(long))
    for border in (step, window, 2 * step, step + window):
        assert jumps[border - 2 : border + 2].max() <= jumps.max() * 0.9 + 1e-6


def test_guidance_and_negative_prompt_steer(pipeline: TextToAudioPipeline) -> None:
    plain = pipeline("rain", 0.3, guidance_scale=1.0).audios[0]
    guided = pipeline("rain", 0.3, guidance_scale=5.0).audios[0]
    away = pipeline("rain", 0.3, guidance_scale=5.0, negative_prompt="a dog barks").audios[0]
    blank = pipeline("rain", 0.3, guidance_scale=5.0, negative_prompt="  ").audios[0]
    ignored = pipeline("rain", 0.3, guidance_scale=1.0, negative_prompt="a dog barks").audios[0]
    assert np.abs(plain - guided).max() > 1e-3
    assert np.abs(guided - away).max() > 1e-3
    assert np.array_equal(guided, blank) and np.array_equal(plain, ignored)


def test_work_is_done_once(pipeline: TextToAudioPipeline) -> None:
    texts: list[Sequence[str]] = []
    passes: list[int] = []
    encode, unet = pipeline.parts.conditioning.forward, pipeline.parts.unet.forward

    def counting_encode(prompts: Sequence[str]) -> Tensor:
        texts.append(list(prompts))
        return encode(prompts)

    def counting_unet(sample: Tensor, *args: object, **kwargs: object) -> object:
        passes.append(len(sample))
        return unet(sample, *args, **kwargs)

    pipeline.parts.conditioning.forward = counting_encode  # type: ignore[method-assign]
    pipeline.parts.unet.forward = counting_unet
    pipeline(["rain"] * 3 + ["dog"], 0.16, seed=[1, 2, 3, 4], guidance_scale=1.0)
    assert texts == [["rain", "dog"]] and passes == [4, 4, 4]
    passes.clear()
    pipeline(["rain"] * 3 + ["dog"], 0.16, seed=[1, 2, 3, 4], guidance_scale=2.0)
    assert passes == [8, 8, 8]


@pytest.mark.parametrize(
    "kind", [DDIMScheduler, PNDMScheduler, UniPCMultistepScheduler, EulerAncestralDiscreteScheduler]
)
def test_any_scheduler_takes_over_and_is_saved(pipeline: TextToAudioPipeline, tmp_path: Path, kind: type) -> None:
    pipeline.scheduler = kind.from_config(pipeline.scheduler.config)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    calls: list[tuple[int, int]] = []
    made = pipeline("rain", 0.2, num_inference_steps=4, callback=lambda done, total: calls.append((done, total)))
    assert np.isfinite(made.audios[0]).all()
    assert calls == [(i + 1, len(calls)) for i in range(len(calls))] and len(calls) >= 4
    pipeline.save_pretrained(tmp_path)
    assert type(TextToAudioPipeline.from_pretrained(tmp_path).scheduler) is kind


def test_a_callback_that_raises_stops_the_work(pipeline: TextToAudioPipeline) -> None:
    seen = []

    def stop(done: int, total: int) -> None:
        seen.append((done, total))
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipeline(["rain", "dog"], [0.2, 0.5], callback=stop)
    assert seen == [(1, 6), (2, 6)]
    assert np.isfinite(pipeline("rain", 0.2).audios[0]).all()


def test_saved_weights_sound_the_same_in_a_fresh_process(pipeline: TextToAudioPipeline, tmp_path: Path) -> None:
    pipeline.save_pretrained(tmp_path / "weights")
    here = TextToAudioPipeline.from_pretrained(tmp_path / "weights")("a dog barks", 0.3, seed=11).audios[0]
    np.testing.assert_allclose(here, pipeline("a dog barks", 0.3, seed=11).audios[0], atol=1e-6)
    script = (
        "import sys, numpy; from audio_agent_zoo.pipelines.text_to_audio import TextToAudioPipeline\n"
        "made = TextToAudioPipeline.from_pretrained(sys.argv[1])('a dog barks', 0.3, seed=11)\n"
        "numpy.save(sys.argv[2], made.audios[0])"
    )
    saved = tmp_path / "audio.npy"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "weights"), str(saved)], check=True)
    np.testing.assert_allclose(np.load(saved), here, atol=1e-6)


def test_half_precision_on_disk_and_in_the_computation(pipeline: TextToAudioPipeline, tmp_path: Path) -> None:
    full = pipeline("rain", 0.3).audios[0]
    pipeline.save_pretrained(tmp_path, dtype=torch.float16)
    assert pipeline.parts.unet.dtype == torch.float32
    small = TextToAudioPipeline.from_pretrained(tmp_path)
    assert {p.dtype for p in small.parts.unet.parameters()} == {torch.float32}
    np.testing.assert_allclose(small("rain", 0.3).audios[0], full, atol=0.05)
    coarse = TextToAudioPipeline.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert coarse.parts.unet.dtype == coarse.parts.vae.dtype == torch.bfloat16
    assert {p.dtype for p in coarse.vocoder.parameters()} == {torch.float32}
    audio = coarse("rain", 0.3).audios[0]
    assert audio.dtype == np.float32 and np.isfinite(audio).all()


@pytest.mark.parametrize("part", ["unet", "vae", "vocoder"])
def test_values_that_are_no_numbers_name_the_prompt(pipeline: TextToAudioPipeline, part: str) -> None:
    with torch.no_grad():
        next(getattr(pipeline.parts, part).parameters()).fill_(float("nan"))
    if part == "vae":
        with torch.no_grad():
            pipeline.parts.vae.decoder.conv_out.weight.fill_(float("nan"))
    with pytest.raises(RenderError, match=r"'rain' \(seed 4\).*dtype=torch.float32"):
        pipeline("rain", 0.2, seed=4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"prompt": ""}, "prompt is ''"),
        ({"prompt": []}, "list of prompts is empty"),
        ({"prompt": ["rain", "  "]}, "a few words"),
        ({"prompt": "rain " * 2000}, "10000 characters"),
        ({"duration_s": float("nan")}, "duration_s is nan"),
        ({"duration_s": -1.0}, "duration_s is -1.0"),
        ({"duration_s": [1.0, 2.0]}, "holds 2 entries for 1 prompts"),
        ({"seed": -3}, "seed is -3"),
        ({"seed": 1.5}, "seed is 1.5"),
        ({"num_inference_steps": 0}, "num_inference_steps is 0"),
        ({"num_inference_steps": 5000}, "give 1 to 1000"),
        ({"guidance_scale": math.inf}, "guidance_scale is inf"),
        ({"min_columns": 0}, "min_columns is 0"),
        ({"max_batch_columns": -1}, "max_batch_columns is -1"),
    ],
)
def test_wrong_arguments_are_refused(pipeline: TextToAudioPipeline, arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pipeline(**{"prompt": "rain", "duration_s": 0.2, **arguments})


def test_parts_of_two_models_are_refused() -> None:
    parts = tiny.parts()
    clip = tiny.clip_tokenizer()
    other = type(parts.conditioning)(
        [type(parts.conditioning.parts[0])(clip, tiny.clip_encoder(clip, hidden_size=32), 77)]
    )
    values = {**parts.__dict__, "conditioning": other}
    with pytest.raises(WeightsError, match="cross_attention_dim and the text condition's are 16 and 32"):
        TextToAudioParts(**values)


def _break(folder: Path, part: str, how: str) -> None:
    path = next((folder / part).glob("*.bin"))
    if how == "gone":
        path.unlink()
    elif how == "cut off":
        path.write_bytes(path.read_bytes()[:200])
    else:
        state = torch.load(path, weights_only=True)
        state.pop(sorted(state)[0])
        torch.save(state, path)


@pytest.mark.parametrize("part", ["unet", "vae", "text_encoder_0"])
@pytest.mark.parametrize("how", ["gone", "cut off", "a weight missing"])
def test_damaged_public_folders_are_refused(tmp_path: Path, part: str, how: str) -> None:
    _break(tiny.write_adapted(tmp_path), part, how)
    with pytest.raises(WeightsError, match="ownload the folder again"):
        TextToAudioPipeline.from_pretrained(tmp_path)


def test_code_in_a_pickle_does_not_run(tmp_path: Path) -> None:
    tiny.write_adapted(tmp_path)
    marker = tmp_path / "it_ran"

    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str, str]]:
            return open, (str(marker), "w")

    for path in [*tmp_path.rglob("*.bin"), *tmp_path.rglob("*.pt")]:
        original = path.read_bytes()
        torch.save({"generator": Malicious(), "proj.weight": Malicious()}, path)
        with pytest.raises(WeightsError):
            TextToAudioPipeline.from_pretrained(tmp_path)
        path.write_bytes(original)
    assert not marker.exists()
