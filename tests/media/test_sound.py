"""Sound files, made with the real libraries, and what happens when they are broken."""

import io
from pathlib import Path

import numpy as np
import pytest
import soundfile

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import (
    read_audio,
    write_audio,
    write_video,
)
from audio_agent_zoo.mixing import Placement, mix
from tests.media.clips import RATE, Audio, grey_frames, tone


@pytest.mark.parametrize("seconds", [0.25, 0.30001, 9.99997, 10.0, 600.0])
def test_a_file_holds_every_sample(tmp_path: Path, seconds: float) -> None:
    audio = mix([Placement(tone(0.2), 0, 0.25)], seconds).audio
    write_audio(tmp_path / "a.wav", audio)
    info = soundfile.info(tmp_path / "a.wav")
    assert (info.frames, info.samplerate, info.subtype, info.channels) == (
        round(seconds * RATE),
        RATE,
        "PCM_24",
        1,
    )


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
@pytest.mark.parametrize(("subtype", "bits"), [("PCM_16", 16), ("PCM_24", 24)])
def test_pcm_is_exact_on_its_grid(tmp_path: Path, name: str, subtype: str, bits: int) -> None:
    top = 2 ** (bits - 1)
    steps = np.array([-top, -top + 1, -12345, -1, 0, 1, 777, 12345, top - 2, top - 1])
    write_audio(tmp_path / name, (steps / top).astype(np.float32), subtype=subtype)
    back, _ = soundfile.read(tmp_path / name, dtype="float64")
    np.testing.assert_array_equal(back * top, steps)


def test_full_scale_never_wraps(tmp_path: Path) -> None:
    for subtype in ("PCM_16", "PCM_24", "FLOAT"):
        write_audio(tmp_path / "a.wav", np.array([1.0, -1.0, 0.999999999, 1.0], np.float32), subtype=subtype)
        back, _ = soundfile.read(tmp_path / "a.wav")
        np.testing.assert_allclose(back, [1, -1, 1, 1], atol=4e-5)


def test_stems_read_back_from_files_add_up_to_the_mix_before_the_limiter(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    sounds = [Placement(0.3 * rng.standard_normal(RATE), 0.1 * i, 1.0, level_lufs=-14) for i in range(4)]
    made = mix(sounds, 1.0)
    total = np.zeros(made.audio.shape)
    for i, stem in enumerate(made.stems):
        write_audio(tmp_path / f"{i}.wav", stem)
        total += soundfile.read(tmp_path / f"{i}.wav", dtype="float64")[0]
    np.testing.assert_array_equal(total, made.unlimited)
    np.testing.assert_array_equal((total * made.limiter_gain).astype(np.float32), made.audio)


def test_float_holds_what_is_beyond_full_scale(tmp_path: Path) -> None:
    audio = np.array([[3.5, -2.0], [0.0, 1e-9]], np.float32)
    write_audio(tmp_path / "a.wav", audio, subtype="FLOAT")
    np.testing.assert_array_equal(soundfile.read(tmp_path / "a.wav", dtype="float32")[0], audio)


@pytest.mark.parametrize(
    ("audio", "name", "subtype", "message"),
    [
        (np.array([0.0, np.nan], np.float32), "a.wav", "FLOAT", "no numbers"),
        (np.array([0.0, np.inf], np.float32), "a.wav", "PCM_24", "no numbers"),
        (np.array([0.0, 1.001], np.float32), "a.wav", "PCM_16", "peaks at 1.001"),
        (np.zeros(0, np.float32), "a.wav", "PCM_24", "shape"),
        (np.zeros((2, 2, 2), np.float32), "a.wav", "PCM_24", "shape"),
        (np.zeros(9, np.float32), "a.wav", "PCM_12", "PCM_16, PCM_24, FLOAT"),
        (np.zeros(9, np.float32), "a.flac", "FLOAT", "FLAC holds PCM_16, PCM_24"),
        (np.zeros(9, np.float32), "a.txt", "PCM_24", "choose .wav or .flac"),
    ],
)
def test_sound_that_no_file_should_hold_is_refused(
    tmp_path: Path, audio: Audio, name: str, subtype: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        write_audio(tmp_path / name, audio, subtype=subtype)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3", "aiff"])
@pytest.mark.parametrize("as_bytes", [False, True])
def test_sound_files_are_read_as_mono_at_one_rate(tmp_path: Path, suffix: str, as_bytes: bool) -> None:
    path = tmp_path / f"a.{suffix}"
    stereo = np.stack([tone(1.0, rate=44_100), np.zeros(44_100, np.float32)], axis=1)
    soundfile.write(path, stereo, 44_100)
    audio = read_audio(path.read_bytes() if as_bytes else path)
    assert audio.dtype == np.float32
    assert audio.shape[0] == pytest.approx(RATE, abs=2000 if suffix == "mp3" else 1)
    middle = audio[4000:12_000]
    assert np.abs(middle).max() == pytest.approx(0.2, rel=0.1)  # the mean of sound and silence
    assert np.argmax(np.abs(np.fft.rfft(middle))) * RATE / len(middle) == pytest.approx(440, abs=2)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
def test_the_sound_of_a_video_is_read_in_time(tmp_path: Path, suffix: str) -> None:
    audio = np.zeros(2 * RATE, np.float32)
    audio[RATE : RATE + 800] = tone(0.05)
    path = tmp_path / f"a.{suffix}"
    write_video(path, grey_frames(range(50)), 25, audio)
    for back in (read_audio(path), read_audio(path.read_bytes())):
        assert len(back) == pytest.approx(2 * RATE, abs=1100)
        onset = int(np.argmax(np.abs(back) > 0.1))
        assert onset == pytest.approx(RATE, abs=64)


def test_broken_sound_files_are_clear_errors(tmp_path: Path) -> None:
    def check(name: str, content: bytes, message: str) -> None:
        (tmp_path / name).write_bytes(content)
        with pytest.raises(MediaError, match=message):
            read_audio(tmp_path / name)

    rng = np.random.default_rng(0)
    for i in range(5):
        check(f"{i}.wav", rng.bytes(5000 * i), "can't be read as sound")
    check("text.mp3", b"no sound here\n" * 50, "can't be read as sound")
    for data, message in ((np.zeros(0), "no samples"), (np.array([0, np.nan]), "no numbers")):
        encoded = io.BytesIO()
        soundfile.write(encoded, data.astype(np.float32), RATE, subtype="FLOAT", format="WAV")
        check("a.wav", encoded.getvalue(), message)
    write_video(tmp_path / "mute.mp4", grey_frames([1, 2]), 25)
    check("mute.mp4", (tmp_path / "mute.mp4").read_bytes(), "has no sound")
    for missing in (tmp_path / "gone.wav", tmp_path):
        with pytest.raises(MediaError, match="not a file"):
            read_audio(missing)
    with pytest.raises(MediaError, match="the given bytes"):
        read_audio(b"nonsense")
