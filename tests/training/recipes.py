"""The recipes of the video half, cut down to tiny parts."""

from pathlib import Path
from typing import Any

import torch
import yaml

RECIPES = Path(__file__).parents[2] / "recipes"


def small_recipe(
    recipe: str,
    folder: Path,
    frozen: Path,
    features: Path,
    *,
    model: dict[str, Any] | None = None,
    data: dict[str, Any] | None = None,
    **trainer: Any,
) -> Path:
    """A recipe such as `custom/visual_adapter` as it stands, but for its size and for where things lie.

    Checkpoints and logs go to `folder`, the published folder is `folder.parent / "hub"`.
    """
    config = yaml.safe_load((RECIPES / f"{recipe}.yaml").read_text(encoding="utf-8"))
    arguments = config["model"]["init_args"]
    for key in ("base", "hub_folder", "start"):
        if arguments.get(key) is not None:
            gemma = str(arguments[key]).startswith("google/")
            arguments[key] = str(frozen / "language_model" if gemma else frozen)
    arguments |= model or {}
    config["data"]["init_args"] |= {"path": str(features), "batch_size": 2, "n_validation_batches": 1, **(data or {})}
    config["trainer"] |= {
        "accelerator": "cpu",
        "precision": "32-true",
        "log_every_n_steps": 1,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "default_root_dir": str(folder),
        **trainer,
    }
    for callback in config["trainer"]["callbacks"]:
        if "dirpath" in callback["init_args"]:
            callback["init_args"]["dirpath"] = str(folder)
        if callback["class_path"] == "PublishParts":
            callback["init_args"]["folder"] = str(folder.parent / "hub")
            for base in callback["init_args"].get("bases", {}).values():
                base["repo"] = str(frozen)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "recipe.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    return path


def checkpoint(folder: Path) -> dict[str, Any]:
    """The last one of a run."""
    loaded: dict[str, Any] = torch.load(folder / "last.ckpt", weights_only=True)
    return loaded


def assert_same_end(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Two runs ended at the same step with weights, average and optimizer equal to the last bit."""
    assert one["global_step"] == other["global_step"]
    assert one["state_dict"].keys() == other["state_dict"].keys()
    for name, value in one["state_dict"].items():
        assert torch.equal(value, other["state_dict"][name]), name
    for a, b in zip(one["average"]["shadow_params"], other["average"]["shadow_params"], strict=True):
        assert torch.equal(a, b)
    first, second = (kept["optimizer_states"][0]["state"] for kept in (one, other))
    assert all(torch.equal(state[name], second[key][name]) for key, state in first.items() for name in state)
    assert one["lr_schedulers"][0]["last_epoch"] == other["lr_schedulers"][0]["last_epoch"]
