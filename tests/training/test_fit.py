"""Every foley-mini recipe runs for a few steps on tiny parts, publishes, and goes on after a stop."""

import re
from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel
from transformers import HubertModel

from audio_agent_zoo.models.audio_text import AudioTextModel
from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.models.frame_encoder import FrameEncoder
from audio_agent_zoo.models.hifigan import HifiGanGenerator
from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.training.fit import fit

RECIPES = Path(__file__).parents[2] / "recipes" / "foley_mini"


def _arguments(recipe: str, runs: Path, steps: int, **overrides: object) -> list[str]:
    """The recipe cut to `steps` steps that writes below `runs`, with `init_args` overridden by `part__name`."""
    config = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))
    trainer = config["trainer"]
    trainer |= {
        "max_steps": steps,
        "val_check_interval": steps,
        "log_every_n_steps": 1,
        "accelerator": "cpu",
        "enable_progress_bar": False,
        "default_root_dir": str(runs / recipe),
    }
    checkpoint, publish = trainer["callbacks"]
    checkpoint["init_args"] |= {"dirpath": str(runs / recipe), "every_n_train_steps": steps}
    publish["init_args"]["folder"] = str(runs / "hub")
    for key, value in overrides.items():
        part, name = key.split("__")
        config[part].setdefault("init_args", {})[name] = str(value) if isinstance(value, Path) else value
    path = runs / f"{recipe}-{steps}.yaml"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return ["--config", str(path)]


def _clips(n: int = 8) -> dict[str, object]:
    return {
        "data__n_train_clips": n,
        "data__n_validation_clips": 4,
        "data__batch_size": 4,
        "data__duration_s": 1.28,
    }


def test_every_recipe_without_features_is_run_here() -> None:
    recipes = {path.stem for path in RECIPES.glob("*.yaml") if "Foley" in path.read_text(encoding="utf-8")}
    others = {path.stem for path in RECIPES.glob("*.yaml") if "FoleyFeatures" in path.read_text(encoding="utf-8")}
    run = set(re.findall(r'_arguments\("(\w+)"', Path(__file__).read_text(encoding="utf-8")))
    assert recipes - others == run


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder whose autoencoder stage is done."""
    folder = tmp_path_factory.mktemp("runs")
    small = {"model__block_out_channels": [8, 8, 8, 8], "model__columns": 32}
    fit(_arguments("autoencoder", folder, 2, **_clips(), **small))
    return folder


def _latents(runs: Path) -> dict[str, object]:
    return {
        "data__hub_folder": runs / "hub",
        "data__cache_folder": runs / "latents",
        "data__durations_s": [1.28],
        "data__n_clips": [40],
        "data__n_pairs": [2],
        "data__batches_per_epoch": 4,
        "data__values_per_batch": 64,
        "data__num_workers": 0,
        "model__block_out_channels": [16, 16, 16],
        "model__cross_attention_dim": 16,
        "model__text_layers": 1,
    }


def test_autoencoder_publishes_unit_variance_latents(runs: Path) -> None:
    vae = AutoencoderKL.from_pretrained(runs / "hub", subfolder="vae")
    assert vae.config.scaling_factor > 0
    assert vae(torch.zeros(1, 3, 64, 32)).sample.shape == (1, 3, 64, 32)


def test_classifier_stage(runs: Path) -> None:
    fit(_arguments("classifier", runs, 2, **_clips()))
    judge = FoleyClassifier.from_pretrained(runs / "hub", subfolder="classifier").eval()
    assert judge(torch.randn(2, 16_000)).shape == (2, 38)


def test_audio_text_stage(runs: Path) -> None:
    overrides = {
        "model__vocabulary_size": 520,
        "data__n_rounds": 1,
        "data__n_batches": 2,
        "data__n_validation_batches": 2,
        "data__duration_s": 0.64,
        "data__pair_duration_s": 1.28,
    }
    cli = fit(_arguments("audio_text", runs, 2, **overrides))
    judge = AudioTextModel.load(runs / "hub" / "audio_text").eval()
    assert len(judge.tokenizer) <= 520
    for name, value in cli.model.model.state_dict().items():
        torch.testing.assert_close(judge.state_dict()[name], value, rtol=1e-3, atol=1e-3)  # published as float16
    assert {"validation/loss", "validation/singles", "validation/pairs"} <= set(cli.trainer.callback_metrics)


def test_frame_encoder_stage(runs: Path) -> None:
    small = {"model__image_size": 32, "model__hidden_size": 24, "model__layers": 1, "model__heads": 2}
    data = {key: value for key, value in _clips(4).items() if key != "data__batch_size"}
    cli = fit(_arguments("frame_encoder", runs, 2, **data, **small, data__batch_size=2, data__frames_per_clip=4))
    encoder = FrameEncoder.from_pretrained(runs / "hub" / "frame_encoder")
    frames = torch.zeros(2, 32, 32, 3, dtype=torch.uint8)
    assert encoder.encode(frames).shape == (2, 24)
    trained = cli.model.encoder.clip.state_dict()
    for name, value in encoder.clip.state_dict().items():
        torch.testing.assert_close(value.float(), trained[name].float(), rtol=1e-3, atol=1e-3)


def test_hubert_stage_publishes_centroids_of_its_own_states(runs: Path) -> None:
    small = {
        "model__hidden_size": 32,
        "model__layers": 1,
        "model__heads": 2,
        "model__conv_dim": 8,
        "model__n_units": 12,
        "model__n_centroids": 10,
    }
    cli = fit(_arguments("hubert", runs, 2, **_clips(), **small))
    assert cli.model.units.any(), "acoustic units were found before the first step"
    quantizer = SemanticQuantizer.from_pretrained(runs / "hub", subfolder="semantic_quantizer")
    assert quantizer.centroids.shape == (10, 32)
    hubert = HubertModel.from_pretrained(runs / "hub" / "hubert").eval()
    trained = cli.model.hubert.eval()
    clip = torch.randn(1, 16_000)
    with torch.no_grad():
        published, own = (network(clip).last_hidden_state for network in (hubert, trained))
    torch.testing.assert_close(published, own, rtol=2e-2, atol=2e-2)  # published as float16


def test_vocoder_stage_with_its_discriminators(runs: Path) -> None:
    overrides = {
        "model__hub_folder": runs / "hub",
        "model__upsample_initial_channel": 16,
        "model__segment_columns": 32,
        "model__adversarial_start": 1,
    }
    fit(_arguments("vocoder", runs, 3, **_clips(12), **overrides))
    vocoder = HifiGanGenerator.from_pretrained(runs / "hub")
    assert vocoder(torch.zeros(1, 64, 10)).shape == (1, 1600)


def test_text_to_audio_stage_publishes_averaged_weights_and_resumes(runs: Path) -> None:
    fit(_arguments("text_to_audio", runs, 2, **_latents(runs)))
    first = torch.load(runs / "text_to_audio" / "last.ckpt", weights_only=True)
    assert first["global_step"] == 2
    published = UNet2DConditionModel.from_pretrained(runs / "hub", subfolder="unet").state_dict()
    average = first["average"]["shadow_params"]
    trained = [value for key, value in first["state_dict"].items() if key.startswith("unet.")]
    assert any(torch.equal(value, average[0]) for value in published.values()), "the averaged weights are published"
    assert len(trained) == len(published)
    assert (runs / "hub" / "condition_config.json").exists()

    resumed = _arguments("text_to_audio", runs, 4, **_latents(runs))
    cli = fit([*resumed, "--ckpt_path", str(runs / "text_to_audio" / "last.ckpt")])
    assert cli.trainer.global_step == 4


def test_a_missing_autoencoder_is_named(tmp_path: Path, runs: Path) -> None:
    overrides = {**_latents(runs), "data__hub_folder": tmp_path / "nowhere"}
    with pytest.raises((FileNotFoundError, OSError), match="nowhere"):
        fit(_arguments("text_to_audio", tmp_path, 1, **overrides))
