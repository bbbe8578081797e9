"""Commands about published folders: push, compact, zoo, plan-memory."""

import argparse
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

_HEADLINES = ("full_", "planned_", "named_", "audio_agent_", "in_order_")
"""How figures of a whole system begin in our evaluations."""


def push(arguments: argparse.Namespace) -> int:
    """Publish a folder, or list what that would send."""
    from audio_agent_zoo.hub import plan_push, push_folder

    if arguments.dry_run:
        print(plan_push(arguments.folder))
        return 0
    print(
        push_folder(
            arguments.folder,
            arguments.repo,
            private=arguments.private,
            revision=arguments.branch,
            pull_request=arguments.pull_request,
        )
    )
    return 0


def compact(arguments: argparse.Namespace) -> int:
    """Copy a folder with its weights in half precision."""
    from audio_agent_zoo.hub import compact as halve
    from audio_agent_zoo.hub import plan_push

    print(plan_push(halve(arguments.folder, arguments.out)))
    return 0


def zoo(arguments: argparse.Namespace) -> int:
    """List published folders: the bundled ones, and those named."""
    from audio_agent_zoo.hub import BUNDLED, resolve
    from audio_agent_zoo.published import PublishedConfig, weight_files
    from audio_agent_zoo.published_card import read_results

    for name in [*BUNDLED, *arguments.folders]:
        folder = resolve(name)
        config = PublishedConfig.read(folder)
        if config is None:
            print(f"{name}: a public layout, not one of ours")
            continue
        size = sum(path.stat().st_size for path in weight_files(folder))
        print(f"{config.name}  {size / 1e6:.1f} MB  {config.license}  {'text and video' if config.video else 'text'}")
        for part in config.parts.values():
            mega = sum(path.stat().st_size for path in weight_files(folder / part.subfolder)) / 1e6
            print(f"  {part.subfolder:<24}{mega:8.2f} MB")
        for part_name, base in config.bases.items():
            print(f"  {part_name:<24}from {base.repo}{'@' + base.revision if base.revision else ''}  {base.license}")
        for file, results in read_results(folder).items():
            print(f"  {file.removesuffix('.json'):<24}{_scores(results['figures'])}")
    return 0


def _scores(figures: Sequence[Mapping[str, Any]]) -> str:
    """A few figures of the weights themselves, rather than of references and ablations."""
    measured = [figure for figure in figures if figure["better"]]
    own = [figure for figure in measured if figure["name"].startswith(_HEADLINES)] or measured
    return "  ".join(f"{figure['name']} {figure['value']:.3g}" for figure in own[:4])


def plan_memory(arguments: argparse.Namespace) -> int:
    """Print what weights take once loaded, or a training by its recipe, and whether a card of some size holds it."""
    import torch

    from audio_agent_zoo.hub import TEXT_TO_AUDIO, VIDEO_TO_AUDIO, resolve
    from audio_agent_zoo.pipelines.memory_plan import memory_plan

    if arguments.weights.endswith((".yaml", ".yml")):
        return _plan_training(arguments)

    folder = resolve(Path(arguments.weights), parts=(*TEXT_TO_AUDIO, *VIDEO_TO_AUDIO))
    plan = memory_plan(folder, {"float32": torch.float32, "bfloat16": torch.bfloat16}[arguments.dtype])
    for part in plan.parts:
        print(f"{part.name:<24}{part.n_parameters / 1e6:10.2f} M{part.n_bytes / 1e9:10.3f} GB")
    print(f"{'in all':<24}{'':>12}{plan.n_bytes / 1e9:9.3f} GB")
    if arguments.card_gb:
        share = plan.n_bytes / 1e9 / arguments.card_gb
        verdict = "fits, before activations" if share < 0.9 else "too much, even before activations"
        print(f"{share:.0%} of {arguments.card_gb:g} GB: {verdict}")
    return 0


def _plan_training(arguments: argparse.Namespace) -> int:
    from audio_agent_zoo.cli.weights import find_recipe
    from audio_agent_zoo.training.memory import plan_training

    quantized = {"base_quantization": "nf4"} if arguments.nf4 else {}
    plan = plan_training(find_recipe(Path(arguments.weights)), overrides=quantized)
    print(plan.table(arguments.card_gb))
    return 0
