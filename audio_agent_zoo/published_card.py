"""The model card of a published folder: what the Hub shows of it, licences first."""

from collections.abc import Mapping
from pathlib import Path

import yaml

from audio_agent_zoo.errors import WeightsError
from audio_agent_zoo.media import atomic_path
from audio_agent_zoo.published import PublishedConfig

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
    """Write `README.md` from the folder's config.

    Args:
        folder: Published folder.
        figures: Measured values to list.

    Raises:
        WeightsError: If the folder has no config.
    """
    config = PublishedConfig.read(folder)
    if config is None:
        raise WeightsError(f"{folder} is no published folder: it has no config.json.")
    path = folder / "README.md"
    with atomic_path(path) as partial:
        partial.write_text(card_text(config, figures or {}), encoding="utf-8")
    return path


def card_text(config: PublishedConfig, figures: Mapping[str, float]) -> str:
    """The card as Markdown with the metadata the Hub reads."""
    repos = {part: base.repo for part, base in config.bases.items()}
    licences = {part: config.bases[part].license or terms_of(repo)[0] for part, repo in repos.items()}
    strictest = next((name for name in _STRICTEST if name in licences.values()), config.license)
    metadata = {
        "license": strictest,
        "language": "en",
        "library_name": "audio-agent-zoo",
        "pipeline_tag": "video-to-audio" if config.video else "text-to-audio",
        "tags": ["audio", "foley", "audio-agent-zoo"],
        "base_model": sorted({repo for repo in repos.values() if "/" in repo}),
    }
    kind = "VideoToAudioPipeline" if config.video else "TextToAudioPipeline"
    lines = ["---", yaml.safe_dump(metadata, sort_keys=False).strip(), "---", "", f"# {config.name}", ""]
    warnings = [f"> **{terms_of(repo)[1]}** ({repo})." for repo in sorted(set(repos.values())) if terms_of(repo)[1]]
    lines += [line for warning in warnings for line in (warning, "")]
    lines += ["```python", f"from audio_agent_zoo import {kind}", ""]
    lines += [f'pipeline = {kind}.from_pretrained("OWNER/NAME")', "```", "", "## Parts", ""]
    lines += ["| Part | Weights | Licence |", "| --- | --- | --- |"]
    lines += [f"| `{part}` | in this repository | {config.license} |" for part in sorted(config.parts)]
    for part, base in sorted(config.bases.items()):
        revision = f" at `{base.revision}`" if base.revision else ""
        lines.append(f"| `{part}` | {base.repo}{revision} | {licences[part] or 'see there'} |")
    if figures:
        lines += ["", "## Figures of the last validation", "", "| Figure | Value |", "| --- | --- |"]
        lines += [f"| {name} | {value:.4g} |" for name, value in sorted(figures.items())]
    lines += ["", f"Written by audio-agent-zoo {config.library_version}.", ""]
    return "\n".join(lines)
