"""The model card of a published folder: what the Hub shows of it, licences first."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.published import PublishedConfig

if TYPE_CHECKING:
    from huggingface_hub import EvalResult

_TERMS = {
    "google/gemma": ("gemma", "Gemma's terms of use: accept them on its page; they bind whoever uses this model too"),
    "auffusion/": (
        "cc-by-nc-sa-4.0",
        "NON-COMMERCIAL: Auffusion's licence forbids commercial use of what is built on it",
    ),
}
"""Beginning of a base's name -> its licence on the Hub, and what it means."""

_STRICTEST = ("cc-by-nc-sa-4.0", "gemma")


def terms_of(repo: str) -> tuple[str, str]:
    """Licence of a known base and what it means; empty for others."""
    return next((terms for start, terms in _TERMS.items() if repo.startswith(start)), ("", ""))


def write_card(folder: Path, figures: Mapping[str, float] | None = None) -> Path:
    """Write `README.md` from the folder's config, with the figures of every `*results.json` in it.

    Args:
        folder: Published folder.
        figures: Measured values of the last validation to list.

    Raises:
        WeightsError: If the folder has no config, or a file of results can't be read.
    """
    config = PublishedConfig.read(folder)
    if config is None:
        raise WeightsError(f"{folder} is no published folder: it has no config.json.")
    path = folder / "README.md"
    with atomic_path(path) as partial:
        partial.write_text(card_text(config, figures or {}, read_results(folder)), encoding="utf-8")
    return path


def refresh_card(folder: Path) -> Path:
    """Bring the figures of every `*results.json` into the metadata of a folder's card, whose text stays as it is.

    A folder without a card gets one.

    Args:
        folder: Published folder.

    Raises:
        WeightsError: If the folder has no config, or the card or a file of results can't be read.
    """
    from huggingface_hub import ModelCard

    path, config = folder / "README.md", PublishedConfig.read(folder)
    if config is None or not path.is_file():
        return write_card(folder)
    measured = eval_results(read_results(folder), "video-to-audio" if config.video else "text-to-audio")
    try:
        card = ModelCard(path.read_text(encoding="utf-8"))
    except Exception as error:  # the parsers' own kinds of error
        raise WeightsError(
            f"the metadata of {path} can't be read: {error}. Correct what is between its ---."
        ) from error
    metadata: Any = card.data
    metadata.model_name = metadata.model_name or config.name
    metadata.eval_results = measured or None
    with atomic_path(path) as partial:
        card.save(partial)
    return path


def read_results(folder: Path) -> dict[str, dict[str, Any]]:
    """Name -> content of the files of results that lie in a published folder, as `audio-agent evaluate` writes them.

    Raises:
        WeightsError: If one of them can't be read as such.
    """
    found = dict[str, dict[str, Any]]()
    for path in sorted(folder.glob("*results.json")):
        try:
            results = json.loads(path.read_text(encoding="utf-8"))
            for figure in results["figures"]:
                float(figure["value"]), str(figure["name"]), str(figure["better"]), int(figure["n"])
        except (OSError, UnicodeDecodeError, ValueError, TypeError, KeyError) as error:
            raise WeightsError(
                f"{path} can't be read as results: {error!r}. Write it again with audio-agent evaluate, or remove it."
            ) from error
        found[path.name] = results
    return found


def eval_results(results: Mapping[str, Mapping[str, Any]], task: str) -> "list[EvalResult]":
    """Figures as the Hub's metadata (`model-index`) has them, without those that are only to be read against.

    Args:
        results: Name -> content of files of results.
        task: Task of those that name none.
    """
    from huggingface_hub import EvalResult

    entries = list[EvalResult]()
    for name, one in results.items():
        data = one.get("dataset") or {"name": one.get("reference", "procedural Foley world"), "split": "test"}
        own = one.get("task", name)
        known = next((kind for kind in ("text-to-audio", "video-to-audio") if kind in own.replace("_", "-")), task)
        for figure in one["figures"]:
            if not figure["better"]:
                continue
            arguments = {"n": figure["n"], "better": f"{figure['better']} is better"}
            arguments |= {"unit": figure["unit"]} if figure.get("unit") else {}
            arguments |= (
                {"interval_95": [round(bound, 6) for bound in figure["interval"]]} if figure.get("interval") else {}
            )
            entries.append(
                EvalResult(
                    task_type=known,
                    dataset_type=data["name"].lower().replace(" ", "-"),
                    dataset_name=data["name"],
                    dataset_split=data.get("split", "test"),
                    metric_type=figure["name"],
                    metric_name=figure["name"].replace("_", " "),
                    metric_value=round(float(figure["value"]), 6),
                    metric_args=arguments,
                )
            )
    return entries


def card_text(
    config: PublishedConfig, figures: Mapping[str, float], results: Mapping[str, Mapping[str, Any]] | None = None
) -> str:
    """The card as Markdown with the metadata the Hub reads.

    Args:
        config: What the folder holds.
        figures: Measured values of the last validation.
        results: Name -> content of files of results, for the metadata and a table.
    """
    from huggingface_hub import ModelCardData

    repos = {part: base.repo for part, base in config.bases.items()}
    licences = {part: config.bases[part].license or terms_of(repo)[0] for part, repo in repos.items()}
    strictest = next((name for name in _STRICTEST if name in licences.values()), config.license)
    task = "video-to-audio" if config.video else "text-to-audio"
    measured = eval_results(results or {}, task)
    metadata = ModelCardData(
        license=strictest,
        language="en",
        library_name="audio-agent-zoo",
        pipeline_tag=task,
        tags=["audio", "foley", "audio-agent-zoo"],
        base_model=sorted({repo for repo in repos.values() if "/" in repo}),
        model_name=config.name if measured else None,
        eval_results=measured or None,
    )
    kind = "VideoToAudioPipeline" if config.video else "TextToAudioPipeline"
    lines = ["---", metadata.to_yaml(), "---", "", f"# {config.name}", ""]
    warnings = [f"> **{terms_of(repo)[1]}** ({repo})." for repo in sorted(set(repos.values())) if terms_of(repo)[1]]
    lines += [line for warning in warnings for line in (warning, "")]
    lines += ["```python", f"from audio_agent_zoo import {kind}", ""]
    lines += [f'pipeline = {kind}.from_pretrained("OWNER/NAME")', "```", "", "## Parts", ""]
    lines += ["| Part | Weights | Licence |", "| --- | --- | --- |"]
    lines += [f"| `{part}` | in this repository | {config.license} |" for part in sorted(config.parts)]
    for part, base in sorted(config.bases.items()):
        revision = f" at `{base.revision}`" if base.revision else ""
        lines.append(f"| `{part}` | {base.repo}{revision} | {licences[part] or 'see there'} |")
    lines += _results_lines(results or {})
    if figures:
        lines += ["", "## Figures of the last validation", "", "| Figure | Value |", "| --- | --- |"]
        lines += [f"| {name} | {value:.4g} |" for name, value in sorted(figures.items())]
    lines += ["", f"Written by audio-agent-zoo {config.library_version}.", ""]
    return "\n".join(lines)


def _results_lines(results: Mapping[str, Mapping[str, Any]]) -> Sequence[str]:
    """One table per file of results."""
    lines = ["", "## How good it is"] if results else []
    for name, one in results.items():
        lines += ["", f"Measured by `{one.get('recipe', 'audio-agent evaluate')}`; `{name}` beside this card says how."]
        lines += ["", "| Figure | Value | 95 % interval | Clips |", "| --- | --- | --- | --- |"]
        for figure in one["figures"]:
            low_high = figure.get("interval")
            interval = f"{low_high[0]:.3f} to {low_high[1]:.3f}" if low_high else ""
            better = f" ({figure['better']} is better)" if figure["better"] else ""
            unit = f" {figure['unit']}" if figure.get("unit") else ""
            cells = (f"{figure['name']}{better}", f"{figure['value']:.3f}{unit}", interval, str(figure["n"]))
            lines.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return lines
