"""Every foley-mini recipe runs for a few steps on tiny parts, publishes, and goes on after a stop."""

from pathlib import Path

import pytest
import torch
import yaml
from diffusers import AutoencoderKL, UNet2DConditionModel

from audio_agent_zoo.models.foley_classifier import FoleyClassifier
from audio_agent_zoo.models.hifigan import HifiGanGenerator
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
