"""The recipes over frozen parts run both stages for a few steps on tiny parts, and what they publish makes sound."""

import json
import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np
import pytest
import torch
import yaml
from lightning import Trainer
from lightning.pytorch.cli import LightningCLI

from audio_agent_zoo.models.semantic_quantizer import SemanticQuantizer
from audio_agent_zoo.models.temporal_connector import TemporalConnector
from audio_agent_zoo.models.visual_adapter import VisualAdapter
from audio_agent_zoo.pipelines.video_to_audio import VideoToAudioPipeline
from audio_agent_zoo.published import Base, PublishedConfig
from audio_agent_zoo.published_card import card_text
from audio_agent_zoo.training.callbacks import PublishParts
from audio_agent_zoo.training.fit import fit
from tests import tiny_video
from tests.training.recipes import RECIPES, small_recipe

STEPS = 2


def _fit(recipe: str, frozen: Path, features: Path, runs: Path, **model: Any) -> LightningCLI:
    """The recipe as it stands, but for its size and for where things lie."""
    folder = runs / recipe.rsplit("/", 1)[-1]
    trainer = {"max_steps": STEPS, "val_check_interval": STEPS, "precision": "bf16-mixed"}
    return fit(["--config", str(small_recipe(recipe, folder, frozen, features, model=model, **trainer))])


@pytest.mark.parametrize("name", ["custom", "avsync15", "vggsound"])
def test_both_stages_publish_what_loads(name: str, frozen: Path, features: Path, tmp_path: Path) -> None:
    small = {"lora_rank": 2} if name != "custom" else {}
    cli = _fit(f"{name}/semantic_tokens", frozen, features, tmp_path, **small)
    # Otherwise its layers would neither drop out nor forget their activations.
    layers = cli.model.lm.base.model.layers
    assert all(layer.training and layer.gradient_checkpointing == (name != "custom") for layer in layers)
    _fit(f"{name}/visual_adapter", frozen, features, tmp_path)
    hub = tmp_path / "hub"
    config = PublishedConfig.read(hub)
    assert config is not None
    trained = {"temporal_connector", "semantic_token_lm", "visual_adapter"}
    # Centroids of a folder on this machine are nowhere else to be had.
    assert set(config.parts) == trained | {"semantic_quantizer"}
    assert "unet" not in {path.name for path in hub.iterdir()}
    own, published = (SemanticQuantizer.from_pretrained(f, subfolder="semantic_quantizer") for f in (frozen, hub))
    assert torch.equal(own.centroids, published.centroids)
    made = VideoToAudioPipeline.from_pretrained(hub)(tiny_video.moving(11), "a dog barks", num_inference_steps=2)
    assert np.isfinite(made.audios[0]).all()
    for stage in ("semantic_tokens", "visual_adapter"):
        assert (tmp_path / stage / "last.ckpt").stat().st_size < 3_000_000, "checkpoints hold what is trained alone"


ON_FEATURES = [
    path
    for path in sorted((RECIPES / "foley_mini").glob("*.yaml"))
    if "FoleyFeaturesDataModule" in path.read_text(encoding="utf-8")
]


@pytest.mark.parametrize("path", ON_FEATURES, ids=lambda path: str(path.stem))
def test_a_recipe_of_foley_mini_publishes_parts_that_make_sound(
    path: Path, frozen: Path, features: Path, tmp_path: Path
) -> None:
    recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    given = recipe["model"]["init_args"]
    # Its stretches of 64 tokens are longer than the clips here.
    small = {"window_tokens": 8} if "window_tokens" in given else {}
    if "new_base" in given:
        small["new_base"] = given["new_base"] | {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2}
    hub, trained = tmp_path / "hub", set[str]()
    shutil.copytree(frozen, hub)
    cli = _fit(f"foley_mini/{path.stem}", frozen, features, tmp_path, **small)
    assert cli.trainer.global_step == STEPS
    if recipe["model"]["class_path"] == "SemanticTokenTraining":
        trained |= {"temporal_connector", "semantic_token_lm"} | (
            {"language_model"} if given.get("train_base") else set()
        )
        connector = TemporalConnector.from_pretrained(hub, subfolder="temporal_connector")
        assert connector.config.temporal == given.get("temporal", True)
        lora = json.loads((hub / "semantic_token_lm" / "adapter_config.json").read_text(encoding="utf-8"))
        assert lora["r"] == given["lora_rank"]
    else:
        trained |= {"visual_adapter"}
        adapter = VisualAdapter.from_pretrained(hub, subfolder="visual_adapter")
        assert adapter.config.positions == given["positions"]
    weights = [one.relative_to(hub) for one in hub.rglob("*.safetensors")]
    changed = {one.parts[0] for one in weights if (hub / one).read_bytes() != (frozen / one).read_bytes()}
    assert changed == trained
    made = VideoToAudioPipeline.from_pretrained(hub)(tiny_video.moving(11), "a dog barks", num_inference_steps=2)
    assert np.isfinite(made.audios[0]).all()


def test_a_card_of_public_bases_says_their_terms_loudly() -> None:
    recipe = yaml.safe_load((RECIPES / "avsync15" / "visual_adapter.yaml").read_text(encoding="utf-8"))
    publish = recipe["trainer"]["callbacks"][-1]["init_args"]
    bases = {part: Base(**base) for part, base in publish["bases"].items()}
    text = card_text(PublishedConfig(publish["name"], publish["license"], {}, bases=bases), {})
    assert "license: cc-by-nc-sa-4.0" in text and "NON-COMMERCIAL" in text
    assert "Gemma's terms of use" in text
    assert all(base.repo in text for base in bases.values())


def test_stage_two_starts_from_an_imported_adapter(frozen: Path, features: Path, tmp_path: Path) -> None:
    start = VisualAdapter.from_pretrained(frozen, subfolder="visual_adapter")
    start.save_pretrained(tmp_path / "start" / "visual_adapter")
    _fit(
        "avsync15/visual_adapter",
        frozen,
        features,
        tmp_path,
        start=str(tmp_path / "start"),
        learning_rate=0.0,
        warmup_steps=0,
    )
    trained = VisualAdapter.from_pretrained(tmp_path / "hub", subfolder="visual_adapter")
    for name, value in start.state_dict().items():
        torch.testing.assert_close(trained.state_dict()[name], value, rtol=1e-3, atol=1e-4)  # published as float16


def test_bases_are_published_at_the_commit_that_was_trained_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = "0123456789abcdef" * 2 + "01234567"
    reference = tmp_path / "models--google--gemma-2-2b-it" / "refs" / "main"
    reference.parent.mkdir(parents=True)
    reference.write_text(commit, encoding="utf-8")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    other = "f" * 40
    bases = {
        "language_model": Base("google/gemma-2-2b-it"),
        "hubert": Base("facebook/hubert-base-ls960", revision=other),
        "frame_encoder": Base("never/downloaded"),
        "text_to_audio": Base("foley-mini"),
    }
    (tmp_path / "hub").mkdir()
    PublishParts(str(tmp_path / "hub"), name="mine", bases=bases).describe({})
    config = PublishedConfig.read(tmp_path / "hub")
    assert config is not None
    assert {part: base.revision for part, base in config.bases.items()} == {
        "language_model": commit,
        "hubert": other,
        "frame_encoder": "",
        "text_to_audio": "",
    }
    assert commit in (tmp_path / "hub" / "README.md").read_text(encoding="utf-8")


def test_the_published_folder_keeps_the_best_state_and_its_figures(
    frozen: Path, features: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    losses, adapters = iter([0.7, 0.5, 0.9, 0.6]), []
    judged = PublishParts._is_best

    def judge(self: PublishParts, trainer: Trainer) -> bool:
        figures = {"validation/loss": torch.tensor(next(losses))}
        monkeypatch.setattr(Trainer, "callback_metrics", property(lambda trainer: figures))
        return judged(self, trainer)

    def keep(self: PublishParts, trainer: Trainer, training: Any) -> None:
        adapters.append({name: value.clone() for name, value in training.adapter.state_dict().items()})
        published(self, trainer, training)

    published = PublishParts._publish
    monkeypatch.setattr(PublishParts, "_is_best", judge)
    monkeypatch.setattr(PublishParts, "_publish", keep)
    folder = tmp_path / "visual_adapter"
    recipe = small_recipe("custom/visual_adapter", folder, frozen, features, max_steps=4, val_check_interval=1)
    fit(["--config", str(recipe)])
    assert len(adapters) == 2, "the third and the fourth are no better than the second"
    kept = VisualAdapter.from_pretrained(tmp_path / "hub", subfolder="visual_adapter").state_dict()
    assert all(torch.equal(value, kept[name]) for name, value in adapters[1].items())
    results = json.loads((tmp_path / "hub" / "results.json").read_text(encoding="utf-8"))
    assert results["trained"]["VisualAdapterTraining"] == {"step": 2, "validation/loss": 0.5}
