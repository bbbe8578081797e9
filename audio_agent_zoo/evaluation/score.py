"""Any folder of sounds against any other: every system is judged by the same code."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from audio_agent_zoo.evaluation.comparison import FolderScore, Progress, ScoreSettings
from audio_agent_zoo.evaluation.folders import pair_folders
from audio_agent_zoo.evaluation.judges import Judge, load_judge
from audio_agent_zoo.evaluation.report import write_report
from audio_agent_zoo.evaluation.results import write_results
from audio_agent_zoo.media import atomic_path

__all__ = ["Progress", "ScoreSettings", "score", "write_clips"]


def score(
    generated: Path,
    reference: Path,
    output: Path,
    settings: ScoreSettings | None = None,
    *,
    judges: Sequence[Judge] | None = None,
    callback: Progress | None = None,
) -> dict[str, Any]:
    """Compare two folders and write `results.json`, `results.md`, `results.html` and `clips.csv`.

    Args:
        generated: Folder of generated sounds.
        reference: Folder of the true ones, of the same file names.
        output: Folder of the results.
        settings: How.
        judges: Networks that are loaded already, instead of those the settings name.
        callback: Progress.

    Returns:
        What `results.json` holds.

    Raises:
        MediaError: If the folders do not match or a file can't be read; the message lists all of them.
        ValueError: If a metric is asked for that these clips or networks can't give.
        WeightsError: If a network's weights are not there.
    """
    chosen = settings or ScoreSettings()
    heard = [load_judge(name) for name in chosen.networks] if judges is None else list(judges)
    looked_at = None if callback is None else lambda done, total: callback("files", done, total)
    pairs = pair_folders(generated, reference, partial=chosen.partial, callback=looked_at)
    comparison = FolderScore(pairs, chosen, heard, callback)
    figures = comparison.figures()
    more: dict[str, Any] = {
        "task": "sound-against-sound",
        "generated": generated.resolve().name,
        "reference": reference.resolve().name,
        "n_pairs": len(pairs),
        "left_out": comparison.left_out,
        "problems": {kind: list(entries) for kind, entries in pairs.problems.items()},
        "length_differences": pairs.length_differences(),
        "silent": [name for name, clip in zip(pairs.names, pairs.generated, strict=True) if clip.silent],
    }
    results = write_results(
        output,
        Path("score"),
        chosen,
        figures,
        more,
        protocols=comparison.protocols,
        networks=comparison.networks,
        seeds={"bootstrap": chosen.seed},
    )
    write_clips(output / "clips.csv", pairs.names, comparison.per_clip)
    title = f"{more['generated']} against {more['reference']}"
    shown = comparison.report_clips()
    order = f"{len(shown)} of {len(pairs)} clips, {comparison.order}."
    write_report(output / "results.html", title, results, shown, order=order)
    return results


def write_clips(path: Path, names: Sequence[str], columns: Mapping[str, NDArray[np.float64]]) -> None:
    """Write the value of every clip as CSV; a cell is empty where there is none.

    Args:
        path: File to write.
        names: Clips.
        columns: Figure -> its value per clip, NaN for none.
    """
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["clip", *columns])
        for i, name in enumerate(names):
            writer.writerow(
                [name, *(f"{column[i]:.6g}" if np.isfinite(column[i]) else "" for column in columns.values())]
            )
