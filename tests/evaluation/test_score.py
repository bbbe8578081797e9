"""Any folder of sounds against any other: what is measured, and what is said of files that do not match."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from audio_agent_zoo import cli
from audio_agent_zoo.errors import MediaError, WeightsError
from audio_agent_zoo.evaluation.folders import pair_folders
from audio_agent_zoo.evaluation.judges import Judge, load_judge, rows_of
from audio_agent_zoo.evaluation.score import ScoreSettings, score
from audio_agent_zoo.media import resample, write_audio, write_video
from audio_agent_zoo.metrics.features import FeatureNetwork
from audio_agent_zoo.metrics.onsets import OnsetMetric

RATE, SECONDS, N = 16_000, 1.2, 6


def _clicks(times_s: tuple[float, ...], seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    wave = 1e-3 * rng.standard_normal(round(SECONDS * RATE))
    for at in times_s:
        start = round(at * RATE)
        burst = rng.uniform(-1, 1, 1600) * np.exp(-np.arange(1600) / 300)
        wave[start : start + 1600] += 0.6 * burst[: max(0, len(wave) - start)]
    return np.clip(wave, -1, 1).astype(np.float32)


def _times(i: int) -> tuple[float, ...]:
    return (0.2 + 0.03 * i, 0.6 + 0.02 * i, 0.9 + 0.01 * i)[: 2 + i % 2]


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("truth")
    for i in range(N):
        write_audio(folder / f"clip{i}.wav", _clicks(_times(i), i), RATE, subtype="FLOAT")
    return folder


def _shifted(folder: Path, by_s: float, noise: float = 0.0) -> Path:
    for i in range(N):
        late = np.roll(_clicks(_times(i), i), round(by_s * RATE))
        late = late + noise * np.random.default_rng(i).standard_normal(len(late))
        write_audio(folder / f"clip{i}.wav", np.clip(late, -1, 1).astype(np.float32), RATE, subtype="FLOAT")
    return folder


def _values(results: dict) -> dict[str, float]:  # type: ignore[type-arg]
    return {figure["name"]: figure["value"] for figure in results["figures"]}


def _first_numbers(name: str = "first", dim: int = 3) -> Judge:
    """A judge that a formula can follow: the mean energy of thirds of a clip."""

    def thirds(waves: torch.Tensor) -> torch.Tensor:
        return torch.stack([part.square().mean(dim=1) for part in waves.tensor_split(dim, dim=1)], dim=1)

    return Judge(name, FeatureNetwork(name, thirds, dim, 8000))


def test_a_folder_against_itself_is_perfect(truth: Path, tmp_path: Path) -> None:
    results = score(truth, truth, tmp_path)
    values = _values(results)
    for short in ("count_accuracy", "detection_accuracy", "average_precision", "f1"):
        assert values[f"onset_{short}_condfoley"] == 1.0
    assert values["frechet_distance_mini"] == pytest.approx(0.0, abs=1e-6)
    assert values["similarity_mini"] == pytest.approx(1.0)
    assert values["kl_divergence_mini"] == pytest.approx(0.0, abs=1e-4)
    assert values["log_spectral_distance"] == 0.0
    assert values["another_clip_count_accuracy_condfoley"] < 1.0, "another clip's onsets are no oracle"
    assert results["n_pairs"] == N and not results["problems"] and not results["length_differences"]
    assert [reason for reason in results["left_out"] if reason.startswith("av_align")]
    assert len(results["networks"]["mini"]["sha256"]) == 64 and results["seeds"] == {"bootstrap": 0}
    for figure in results["figures"]:
        assert results["protocols"][figure["protocol"]]["text"] and figure["n"] == N and figure["interval"]
    page = (tmp_path / "results.html").read_text(encoding="utf-8")
    assert page.count("<article") == N and json.loads((tmp_path / "results.json").read_text()) == results
    with (tmp_path / "clips.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["clip"] for row in rows] == [f"clip{i}" for i in range(N)]
    assert {row["onset_f1_condfoley"] for row in rows} == {"1"}


def test_shifts_lower_the_onset_figures_and_noise_raises_the_distances_in_order(truth: Path, tmp_path: Path) -> None:
    settings = ScoreSettings(metrics=("onsets",), onset_protocols=("condfoley", "mmaudio"))
    f1 = []
    for by_s in (0.0, 0.07, 0.2):
        gen = _shifted(tmp_path / f"shift{by_s}", by_s)
        f1.append(_values(score(gen, truth, tmp_path / "out", settings)))
    tight = [values["onset_f1_condfoley"] for values in f1]
    assert tight[0] == 1.0 and tight[0] >= tight[1] > tight[2]
    assert f1[2]["onset_detection_accuracy_mmaudio"] > f1[2]["onset_detection_accuracy_condfoley"]
    distances = []
    for noise in (0.0, 0.01, 0.1):
        gen = _shifted(tmp_path / f"noise{noise}", 0.0, noise)
        distances.append(_values(score(gen, truth, tmp_path / "out", ScoreSettings(metrics=("frechet", "lsd")))))
    for name in ("frechet_distance_mini", "log_spectral_distance"):
        assert distances[0][name] < distances[1][name] < distances[2][name]


def test_figures_are_those_of_the_metrics_and_of_textbooks(truth: Path, tmp_path: Path) -> None:
    gen = _shifted(tmp_path / "gen", 0.08, 0.003)
    judge = _first_numbers()
    values = _values(score(gen, truth, tmp_path / "out", ScoreSettings(networks=("first",)), judges=[judge]))
    pairs = pair_folders(gen, truth)
    metric = OnsetMetric()
    metric.update(
        [clip.read(22_050) for clip in pairs.generated], [clip.read(22_050) for clip in pairs.reference], 22_050
    )
    for name, expected in metric.compute().items():
        assert values[f"{name}_condfoley"] == pytest.approx(float(expected))
    made, true = (
        torch.cat([rows_of(judge.embedding, torch.from_numpy(clip.read(8000))) for clip in side]).double().numpy()
        for side in (pairs.generated, pairs.reference)
    )
    covariances = np.cov(made, rowvar=False), np.cov(true, rowvar=False)
    cross = np.trace(sqrtm(covariances[0] @ covariances[1]).real)
    gap = np.sum((made.mean(0) - true.mean(0)) ** 2)
    expected_distance = gap + np.trace(covariances[0]) + np.trace(covariances[1]) - 2 * cross
    assert values["frechet_distance_first"] == pytest.approx(expected_distance, rel=1e-4, abs=1e-10)
    cosines = (made * true).sum(1) / np.linalg.norm(made, axis=1) / np.linalg.norm(true, axis=1)
    assert values["similarity_first"] == pytest.approx(cosines.mean(), rel=1e-5)
    assert "kl_divergence_first" not in values


def test_rates_formats_and_subfolders_are_matched_by_name(truth: Path, tmp_path: Path) -> None:
    gen, ref = tmp_path / "gen", tmp_path / "ref"
    for i in range(3):
        wave = _clicks(_times(i), i)
        write_audio(gen / "sub" / f"clip{i}.flac", resample(wave, RATE, 44_100).clip(-1, 1), 44_100)
        write_audio(ref / "sub" / f"clip{i}.wav", np.stack([wave, wave], axis=1), RATE, subtype="FLOAT")
    (gen / "notes.txt").write_text("passed over", encoding="utf-8")
    (gen / ".hidden.wav").write_bytes(b"")
    values = _values(score(gen, ref, tmp_path / "out", ScoreSettings(metrics=("onsets", "lsd", "similarity"))))
    assert values["onset_f1_condfoley"] == 1.0 and values["similarity_mini"] > 0.98
    assert pair_folders(gen, ref).names == ("sub/clip0", "sub/clip1", "sub/clip2")


def test_everything_that_does_not_match_is_listed_at_once(truth: Path, tmp_path: Path) -> None:
    gen = _shifted(tmp_path / "gen", 0.0)
    (gen / "clip0.wav").unlink()
    (gen / "clip1.wav").write_bytes(b"RIFF no sound")
    (gen / "clip2.wav").write_bytes(b"")
    write_audio(gen / "clip3.flac", _clicks((0.5,)), RATE)
    write_audio(gen / "stranger.wav", _clicks((0.5,)), RATE)
    with pytest.raises(MediaError) as caught:
        score(gen, truth, tmp_path / "out")
    said = str(caught.value)
    for word in ("clip0", "clip1.wav", "clip2.wav", "clip3 (as", "stranger", "--partial"):
        assert word in said
    assert not (tmp_path / "out").exists()
    results = score(gen, truth, tmp_path / "out", ScoreSettings(metrics=("onsets",), partial=True))
    assert results["n_pairs"] == 2 and {kind: len(one) for kind, one in results["problems"].items()} == {
        "missing": 1,
        "extra": 1,
        "ambiguous": 1,
        "unreadable": 2,
    }
    page = (tmp_path / "out" / "results.html").read_text(encoding="utf-8")
    assert "Without a generated sound (1)" in page and "stranger" in page


def test_folders_without_sounds_are_told(truth: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match="no folder"):
        pair_folders(tmp_path / "none", truth)
    with pytest.raises(MediaError, match="holds no sounds"):
        pair_folders(tmp_path, truth)
    (tmp_path / "other.wav").write_bytes(b"x")
    with pytest.raises(MediaError, match="no readable clip in common"):
        pair_folders(tmp_path, truth, partial=True)


def test_lengths_and_silence_are_noted_and_trimming_evens_them_out(tmp_path: Path) -> None:
    gen, ref = tmp_path / "gen", tmp_path / "ref"
    for i in range(3):
        wave = _clicks((0.3,), i)
        write_audio(ref / f"{i}.wav", wave, RATE)
        longer = np.concatenate([wave, _clicks((0.4,), 9)]) if i == 0 else np.zeros_like(wave) if i == 1 else wave
        write_audio(gen / f"{i}.wav", longer, RATE)
    wanted = ScoreSettings(metrics=("onsets", "lsd"))
    results = score(gen, ref, tmp_path / "out", wanted)
    assert results["length_differences"] == {"0": {"generated_s": 2.4, "reference_s": 1.2}}
    assert results["silent"] == ["1"]
    trimmed = score(gen, ref, tmp_path / "out", ScoreSettings(metrics=("onsets", "lsd"), trim=True))
    counted, cut = _values(results), _values(trimmed)
    assert counted["onset_count_accuracy_condfoley"] == pytest.approx(1 / 3)
    assert cut["onset_count_accuracy_condfoley"] == pytest.approx(2 / 3)


def test_videos_give_their_sound_and_their_motion(tmp_path: Path) -> None:
    gen, ref = tmp_path / "gen", tmp_path / "ref"
    for i in range(2):
        frames = np.full((24, 48, 64, 3), 30, np.uint8)
        rng = np.random.default_rng(i)
        frames[:, 10:30, 10:40] = rng.integers(0, 255, (20, 30, 3))
        frames[12:] = np.roll(frames[12:], 5, axis=2)
        wave = _clicks((0.6,), i)
        write_video(ref / f"{i}.mp4", frames, 20, wave)
        write_audio(gen / f"{i}.wav", wave, RATE)
    results = score(gen, ref, tmp_path / "out", ScoreSettings(metrics=("av_align", "onsets")))
    values = _values(results)
    assert values["onset_f1_condfoley"] == 1.0, "the sound of a video is heard at the right time"
    assert values["av_align"] == pytest.approx(values["av_align_reference"]) and values["av_align"] > 0


def test_what_cannot_be_measured_is_refused_when_asked_for(truth: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="av_align can't be measured"):
        score(truth, truth, tmp_path, ScoreSettings(metrics=("av_align",)))
    with pytest.raises(ValueError, match="names no classes"):
        score(truth, truth, tmp_path, ScoreSettings(metrics=("kl",)), judges=[_first_numbers()])
    with pytest.raises(ValueError, match=r"'onsetz'.*choose among onsets"):
        ScoreSettings(metrics=("onsetz",))
    with pytest.raises(ValueError, match="choose among mini"):
        load_judge("ear")


@pytest.mark.parametrize(("name", "address"), [("vggish", "torchvggish"), ("panns", "zenodo"), ("clap", "laion/clap")])
def test_a_public_network_without_its_weights_names_the_download(name: str, address: str, tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=address):
        load_judge(name, None if name == "clap" else tmp_path / "none.pth")


def test_the_command_prints_figures_and_tells_folders_that_do_not_match(
    truth: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["score", str(truth), str(truth), "--metrics", "onsets,lsd", "--out", str(tmp_path / "out"), "--show", "2"]
    assert cli.main(words) == 0
    printed = capsys.readouterr().out
    assert "onset_f1_condfoley" in printed and "results.html" in printed
    assert (tmp_path / "out" / "results.html").read_text(encoding="utf-8").count("<article") == 2
    assert cli.main(["score", str(tmp_path), str(truth)]) == cli.FILES
    assert cli.main([*words[:3], "--metrics", "smell"]) == cli.USAGE
    assert cli.main([*words[:3], "--network", "vggish"]) == cli.RENDER
    assert "curl -L" in capsys.readouterr().err
