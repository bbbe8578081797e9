"""The memory plan of a recipe: counted before any weight is read, and printed by `fit` and by `plan-memory`."""

import shutil
from pathlib import Path

import pytest
import torch
from transformers import Gemma2Config, Gemma2ForCausalLM

from audio_agent_zoo import cli
from audio_agent_zoo.training.fit import fit
from audio_agent_zoo.training.memory import plan_training
from tests.training.recipes import checkpoint, small_recipe


@pytest.mark.parametrize("stage", ["custom/semantic_tokens", "avsync15/semantic_tokens", "custom/visual_adapter"])
def test_fit_prints_the_plan_and_trains_what_it_counts(
    stage: str, frozen: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = small_recipe(stage, tmp_path / "run", frozen, features, max_steps=1, val_check_interval=1)
    plan = plan_training(recipe)
    cli_ = fit(["--config", str(recipe)])
    assert plan.table() in capsys.readouterr().err
    trained = sum(parameter.numel() for parameter in cli_.model.trained().values())
    assert plan.n_trained == pytest.approx(trained, rel=0.02)
    moments = checkpoint(tmp_path / "run")["optimizer_states"][0]["state"].values()
    kept = sum(state[name].numel() * 4 for state in moments for name in ("exp_avg", "exp_avg_sq"))
    assert plan.optimizer == pytest.approx(kept, rel=0.02)


def test_the_plan_needs_no_weights(frozen: Path, features: Path, tmp_path: Path) -> None:
    bare = Path(shutil.copytree(frozen, tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors")))
    for stage in ("avsync15/semantic_tokens", "avsync15/visual_adapter"):
        with_weights = plan_training(small_recipe(stage, tmp_path / "a", frozen, features))
        without = plan_training(small_recipe(stage, tmp_path / "b", bare, features))
        assert without.n_trained == with_weights.n_trained and without.activations == with_weights.activations


def test_the_command_compares_with_a_card(
    frozen: Path, features: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = str(small_recipe("avsync15/semantic_tokens", tmp_path / "run", frozen, features))
    assert cli.main(["plan-memory", recipe, "--card-gb", "16"]) == 0
    whole = capsys.readouterr().out
    assert "of 16 GB" in whole and "fits" in whole and "activations (estimate)" in whole
    assert cli.main(["plan-memory", recipe, "--nf4", "--card-gb", "0.001"]) == 0
    small = capsys.readouterr().out
    assert "does not fit" in small

    def frozen_gb(text: str) -> float:
        return float(next(line for line in text.splitlines() if line.startswith("frozen")).split()[-2])

    assert frozen_gb(small) <= frozen_gb(whole)
    plans = [plan_training(Path(recipe), overrides={"base_quantization": kind}) for kind in (None, "nf4")]
    assert plans[1].frozen < plans[0].frozen and plans[1].trained == plans[0].trained
    assert cli.main(["plan-memory", "recipes/foley_mini/vocoder.yaml"]) == cli.USAGE
    assert "trains VocoderTraining" in capsys.readouterr().err


def test_activations_that_are_computed_again_take_less(frozen: Path, features: Path, tmp_path: Path) -> None:
    for stage in ("custom/semantic_tokens", "custom/visual_adapter"):
        recipe = small_recipe(stage, tmp_path / "run", frozen, features)
        kept, again = (plan_training(recipe, overrides={"checkpoint_activations": on}) for on in (False, True))
        assert again.activations < kept.activations


def test_four_bits_without_the_library_say_how_to_get_it(frozen: Path, features: Path, tmp_path: Path) -> None:
    recipe = small_recipe("avsync15/semantic_tokens", tmp_path / "run", frozen, features, max_steps=1)
    arguments = ["--config", str(recipe), "--model.init_args.base_quantization", "nf4"]
    with pytest.raises(ValueError, match=r"nf4 and train_base true; a base in four bits can't be trained"):
        fit([*arguments, "--model.init_args.train_base", "true"])
    try:
        import bitsandbytes  # noqa: F401
    except ImportError:
        with pytest.raises(Exception, match=r'pip install "audio-agent-zoo\[nf4\]"'):
            fit(arguments)


def test_a_base_in_four_bits_trains(frozen: Path, features: Path, tmp_path: Path) -> None:
    bitsandbytes = pytest.importorskip("bitsandbytes")
    base = Path(shutil.copytree(frozen / "language_model", tmp_path / "base"))
    config = Gemma2Config.from_pretrained(base)
    config.update({"hidden_size": 64, "intermediate_size": 128, "head_dim": 32, "query_pre_attn_scalar": 32})
    Gemma2ForCausalLM(config).save_pretrained(base)  # the kernels of the library want widths in blocks of 32
    model = {"lora_rank": 2, "base": str(base), "base_quantization": "nf4"}
    recipe = small_recipe(
        "avsync15/semantic_tokens", tmp_path / "run", frozen, features, model=model, max_steps=2, val_check_interval=2
    )
    cli_ = fit(["--config", str(recipe)])
    layers = [one for one in cli_.model.lm.modules() if isinstance(one, bitsandbytes.nn.Linear4bit)]
    assert len(layers) == 14 and all(one.weight.dtype == torch.uint8 for one in layers)
    low_rank = [value for name, value in checkpoint(tmp_path / "run")["state_dict"].items() if "lora_B" in name]
    assert low_rank and all(value.abs().max() > 0 for value in low_rank)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("stage", "option"), [("custom/semantic_tokens", "compile_blocks"), ("custom/visual_adapter", "compile_unet")]
)
def test_compiled_parts_learn_what_plain_ones_do(
    stage: str, option: str, frozen: Path, features: Path, tmp_path: Path
) -> None:
    ends = []
    for on in ("false", "true"):
        recipe = small_recipe(stage, tmp_path / on, frozen, features, max_steps=2, val_check_interval=2)
        fit(["--config", str(recipe), f"--model.init_args.{option}", on])
        ends.append(checkpoint(tmp_path / on)["state_dict"])
    assert ends[0].keys() == ends[1].keys()
    for name, value in ends[0].items():
        torch.testing.assert_close(ends[1][name], value, rtol=1e-3, atol=1e-4)
