"""Whether the measures measure: known orders of systems, of shifts and of noise, in one picture."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from audio_agent_zoo.app.sanity_picture import Panel, draw_panels
from audio_agent_zoo.evaluation.comparison import ScoreSettings
from audio_agent_zoo.evaluation.folders import Audio
from audio_agent_zoo.evaluation.judges import load_caption_judge, load_judge
from audio_agent_zoo.evaluation.report import write_report
from audio_agent_zoo.evaluation.results import Figure, write_results
from audio_agent_zoo.evaluation.system_scores import SystemScores
from audio_agent_zoo.evaluation.tables import Table
from audio_agent_zoo.evaluation.video_spaces import mini_space
from audio_agent_zoo.evaluation.video_systems import VideoSystems, VideoSystemSettings
from audio_agent_zoo.metrics.onsets import CONDFOLEY, MMAUDIO
from audio_agent_zoo.rates import n_samples

SYNC = {
    "onset_detection_accuracy_condfoley": "onset detection accuracy",
    "onset_average_precision_condfoley": "onset average precision",
    "onset_f1_condfoley": "onset F1",
    "onset_count_accuracy_condfoley": "onset count accuracy",
}
"""Measures of time, by the end of the figures' names; all of them higher for the better."""

DISTANCES = {
    "frechet_distance_mini": "Fréchet distance",
    "kernel_distance_mini": "kernel distance",
    "kl_divergence_mini": "KL divergence",
    "log_spectral_distance": "log-spectral distance",
}
"""Measures of sound that are lower for the better."""

SIMILARITIES = {
    "caption_similarity": "similarity to the caption",
    "video_similarity": "similarity to the video",
    "similarity_mini": "similarity to the truth",
}
"""Measures of sound that are higher for the better."""

_SHIFTED = {
    f"onset_{short}_{protocol.name}": protocol
    for protocol in (CONDFOLEY, MMAUDIO)
    for short in ("detection_accuracy", "average_precision", "f1")
}
_FEW_STEPS = 2
_ORDER = (
    "Share of neighbours in a stated order that a measure puts in that order: truth, full system, ablation, noise; "
    "no shift to the longest; no noise to the most. The ablation for measures of time is text_only, which sees "
    "nothing, and what else was trained without; for measures of sound it is few_steps, the system stopped after "
    f"{_FEW_STEPS} denoising steps, for a system without a picture sounds as good as one with. Shifts count where a "
    "protocol can tell them: from half of its tolerance to twice."
)


@dataclass(frozen=True)
class SanityEvaluation(VideoSystemSettings):
    """Settings of the check, as a recipe holds them.

    Attributes:
        shifts_ms: How late the true sound is made to come.
        noise_db: Levels of white noise in the true sound, in dB of the sound's own power.
    """

    shifts_ms: tuple[int, ...] = (0, 50, 100, 200, 400)
    noise_db: tuple[int, ...] = (-30, -20, -10, 0, 10)
    output: str = "runs/sanity"

    def run(self, recipe: Path, output: Path | None = None) -> dict[str, Any]:
        """Measure, and write the results and the picture into the folder."""
        folder = output or Path(self.output)
        folder.mkdir(parents=True, exist_ok=True)
        check = SanityCheck(self, folder, recipe)
        figures = check.figures()
        orders = check.orders(figures)
        figures += [
            Figure(
                f"in_order_{kind}",
                float(np.mean([one.holds for one in found])),
                "",
                "higher",
                len(found),
                None,
                "order",
            )
            for kind, found in _by_kind(orders).items()
        ]
        draw_panels(folder / "sanity.png", check.panels(figures))
        more = {
            "task": "video-to-audio",
            "dataset": self.dataset,
            "weights": check.systems.pipeline.name,
            "left_out": check.systems.left_out,
            "orders": [one.to_dict() for one in orders],
        }
        results = write_results(
            folder,
            recipe,
            self,
            figures,
            more,
            protocols={**check.scores.protocols, "order": {"text": _ORDER}},
            networks=check.scores.networks,
            seeds={"clips": self.seed * 10_000, "generation": self.seed, "bootstrap": self.seed},
            tables=check.tables(),
        )
        pictures = {"Known orders": folder / "sanity.png"}
        write_report(folder / "results.html", "Whether the measures measure", results, (), pictures)
        return results


@dataclass(frozen=True)
class Order:
    """Two conditions that a measure must put in order.

    Attributes:
        kind: systems, shifts or noise.
        measure: End of the figures' names.
        better: The condition that must come out better.
        worse: The other.
        values: Of both.
        holds: Whether it does.
    """

    kind: str
    measure: str
    better: str
    worse: str
    values: tuple[float, float]
    holds: bool

    def to_dict(self) -> dict[str, Any]:
        """Plain values for `results.json`."""
        return {**vars(self), "values": list(self.values)}


def _label(end: str) -> str:
    """A measure of onsets in words, with its protocol."""
    words, _, protocol = end.replace("_f1_", "_F1_").rpartition("_")
    return f"{words.replace('_', ' ')}, {protocol}"


def _by_kind(orders: Sequence[Order]) -> dict[str, list[Order]]:
    found: dict[str, list[Order]] = {}
    for one in orders:
        found.setdefault(one.kind, []).append(one)
    return found


class SanityCheck:
    """Sounds in known orders, and what every measure says of them."""

    def __init__(self, settings: SanityEvaluation, output: Path, recipe: Path) -> None:
        self.settings = settings
        self.systems = VideoSystems(settings, output, recipe)
        clap = load_caption_judge("mini")
        self.scores = SystemScores(
            self.systems.names,
            load_judge("mini"),
            ScoreSettings(
                ("onsets", "frechet", "kernel", "kl", "similarity", "lsd"),
                onset_protocols=(CONDFOLEY.name, MMAUDIO.name),
                seed=settings.seed,
            ),
            truth=self.systems.truth(),
            captions=(self.systems.captions, clap),
            videos=mini_space(self.systems, clap),
        )
        self.there: list[str] = []

    @property
    def shifts(self) -> list[str]:
        """Conditions of the shifts, from none on."""
        return [f"shift_{ms}_ms" for ms in self.settings.shifts_ms]

    @property
    def noises(self) -> list[str]:
        """Conditions of the noise, from none on."""
        return ["truth", *(f"noise_{level}_db".replace("-", "minus_") for level in self.settings.noise_db)]

    def figures(self) -> list[Figure]:
        """Every measure under every condition."""
        systems, found = self.systems, list[Figure]()
        made: dict[str, Callable[[], list[Path] | None]] = {
            "truth": systems.truth,
            "full": systems.full,
            "text_only": systems.text_only,
            "few_steps": partial(systems.full, steps=_FEW_STEPS, name="few_steps"),
            "noise": systems.noise,
            **{name: partial(systems.variant, name) for name in self.settings.variants},
        }
        for name, files in made.items():
            if (paths := files()) is not None:
                self.there.append(name)
                found += self.scores.figures(name, paths, reference=True)
        truths = [example.audio for example in systems.examples]
        for name, ms in zip(self.shifts, self.settings.shifts_ms, strict=True):
            late = [delayed(audio, ms / 1000) for audio in truths]
            found += self.scores.figures(name, systems.given(name, late), reference=True)
        for name, level in zip(self.noises[1:], self.settings.noise_db, strict=True):
            noisy = [with_noise(audio, level, seed) for audio, seed in zip(truths, systems.seeds, strict=True)]
            found += self.scores.figures(name, systems.given(name, noisy), reference=True)
        return found

    def _chains(self) -> list[tuple[str, str, Sequence[str]]]:
        """Kind, measure, and conditions from the best to the worst."""
        trained = [name for name in self.settings.variants if name in self.there]
        blind = ["text_only", *trained]
        found: list[tuple[str, str, Sequence[str]]] = []
        for end in SYNC:
            found += [("systems", end, ("truth", "full", ablation, "noise")) for ablation in blind]
        for end in (*DISTANCES, *SIMILARITIES):
            found.append(("systems", end, ("truth", "full", "few_steps", "noise")))
        found += [("shifts", end, self._told_apart(protocol.tolerance_s)) for end, protocol in _SHIFTED.items()]
        found += [("noise", end, self.noises) for end in (*DISTANCES, *SIMILARITIES)]
        return found

    def _told_apart(self, tolerance_s: float) -> list[str]:
        """No shift, and those that a tolerance can tell: below half of it all onsets are hit, above twice none is."""
        ms = 1000 * tolerance_s
        named = zip(self.settings.shifts_ms, self.shifts, strict=True)
        return [name for shift, name in named if shift == 0 or ms / 2 <= shift <= 2 * ms]

    def orders(self, figures: Sequence[Figure]) -> list[Order]:
        """Each pair of neighbours of each chain, once."""
        value = {figure.name: figure.value for figure in figures}
        found: dict[tuple[str, str, str], Order] = {}
        for kind, end, chain in self._chains():
            for better, worse in pairwise(chain):
                first, second = value[f"{better}_{end}"], value[f"{worse}_{end}"]
                holds = first < second if end in DISTANCES else first > second
                found[end, better, worse] = Order(kind, end, better, worse, (first, second), holds)
        return list(found.values())

    def tables(self) -> list[Table]:
        """Everything by condition."""
        columns = {label: end for ends in (SYNC, DISTANCES, SIMILARITIES) for end, label in ends.items()}
        columns |= {_label(end): end for end, protocol in _SHIFTED.items() if protocol is MMAUDIO}
        rows = {name.replace("_", " "): name for name in [*self.there, *self.shifts, *self.noises[1:]]}
        return [Table("Known orders", rows, columns)]

    def panels(self, figures: Sequence[Figure]) -> list[Panel]:
        """One panel per measure of systems, of shifts and of noise."""
        known = {figure.name: figure for figure in figures}

        def panel(title: str, x: str, conditions: Mapping[str, str], end: str) -> Panel:
            chosen = {label: known[f"{name}_{end}"] for label, name in conditions.items()}
            return Panel(
                title,
                x,
                tuple(chosen),
                tuple(one.value for one in chosen.values()),
                tuple(one.interval for one in chosen.values()),
                lower_is_better=end in DISTANCES,
            )

        trained = [name for name in self.settings.variants if name in self.there]
        blind = {name.replace("_", " "): name for name in ("truth", "full", "text_only", *trained, "noise")}
        plain = {name.replace("_", " "): name for name in ("truth", "full", "few_steps", "noise")}
        shifts = {f"{ms}": name for ms, name in zip(self.settings.shifts_ms, self.shifts, strict=True)}
        levels = ("none", *(str(level) for level in self.settings.noise_db))
        noises = dict(zip(levels, self.noises, strict=True))
        found = [panel(label, "system", blind, end) for end, label in SYNC.items()]
        found += [panel(label, "system", plain, end) for end, label in (DISTANCES | SIMILARITIES).items()]
        found += [panel(_label(end), "ms late", shifts, end) for end in _SHIFTED]
        found += [panel(label, "dB of noise", noises, end) for end, label in (DISTANCES | SIMILARITIES).items()]
        return found


def delayed(audio: Audio, seconds: float) -> Audio:
    """A sound that comes later after silence and is as long: what falls over the end is lost."""
    silence = np.zeros(n_samples(seconds) if seconds else 0, np.float32)
    return np.concatenate([silence, audio])[: len(audio)]


def with_noise(audio: Audio, level_db: float, seed: int) -> Audio:
    """A sound with white noise of so many dB of its own power."""
    power = float(np.mean(np.square(audio, dtype=np.float64)))
    noise = np.random.default_rng([seed, 5]).standard_normal(len(audio)) * np.sqrt(power * 10 ** (level_db / 10))
    noisy: Audio = audio + noise.astype(np.float32)
    return noisy
