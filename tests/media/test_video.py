"""Video files made with PyAV, read by the clock, and written."""

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile

from audio_agent_zoo.errors import MediaError
from audio_agent_zoo.media import (
    iter_frames,
    mux,
    probe_video,
    read_audio,
    write_video,
)
from tests.media.clips import RATE, Frames, grey_frames, tone


def write_timed(path: Path, frames: Frames, times_s: Sequence[float], rotation: int = 0) -> None:
    """A video whose frames have the given times, and that ends 0.1 s after the last."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=30, options={"crf": "1"})
        stream.height, stream.width, stream.pix_fmt = frames.shape[1], frames.shape[2], "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        if rotation:
            stream.set_display_rotation(rotation)
        for picture, time_s in zip(frames, times_s, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = round(time_s * 1000), Fraction(1, 1000)
            frame.duration = 100
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def all_frames(path: Path, fps: float = 21.5, size: tuple[int, int] | None = None) -> Frames:
    return np.concatenate(list(iter_frames(path, fps, size)))


def packets(path: Path) -> list[bytes]:
    with av.open(str(path)) as container:
        return [bytes(packet) for packet in container.demux(video=0) if packet.size]


def test_ten_seconds_are_215_frames_at_their_times(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, grey_frames(range(250)), 25)
    frames = all_frames(path)
    assert frames.shape == (215, 48, 64, 3)
    expected = np.floor(np.arange(215) / 21.5 * 25 + 1e-6)
    np.testing.assert_allclose(frames[:, 24, 32].mean(axis=-1), expected, atol=3)
    info = probe_video(path)
    assert (info.duration_s, info.width, info.height, info.fps) == (10.0, 64, 48, 25.0)
    assert (info.rotation, info.has_audio) == (0, False)


def test_a_variable_rate_keeps_its_own_times(tmp_path: Path) -> None:
    path, times = tmp_path / "vfr.mp4", [0.0, 0.1, 0.9, 1.0, 1.75]
    values = [10, 60, 110, 160, 210]
    write_timed(path, grey_frames(values), times)
    frames = all_frames(path, fps=20.0)
    shown = [values[np.flatnonzero(np.array(times) <= k / 20 + 1e-6)[-1]] for k in range(len(frames))]
    assert len(frames) == np.ceil(probe_video(path).duration_s * 20 - 1e-6) >= 36
    np.testing.assert_allclose(frames[:, 24, 32, 1], shown, atol=4)


def test_a_late_first_frame_is_time_zero(tmp_path: Path) -> None:
    path = tmp_path / "late.mkv"
    write_timed(path, grey_frames([50, 200]), [3.0, 3.5])
    assert probe_video(path).duration_s == pytest.approx(0.53, abs=0.1)
    frames = all_frames(path, fps=10.0)
    np.testing.assert_allclose(frames[:5, 0, 0, 0], 50, atol=4)
    np.testing.assert_allclose(frames[5:6, 0, 0, 0], 200, atol=4)


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_video_stands_upright(tmp_path: Path, rotation: int) -> None:
    upright = grey_frames([0] * 4, height=64, width=48)
    upright[:, :20, :20] = 255  # top left
    stored = np.ascontiguousarray(np.rot90(upright, -rotation // 90, axes=(1, 2)))
    path = tmp_path / "phone.mp4"
    write_timed(path, stored, [0, 0.1, 0.2, 0.3], rotation)
    frames = all_frames(path, 10.0)
    assert frames.shape == (4, 64, 48, 3)
    np.testing.assert_allclose(frames.astype(int), upright, atol=60)
    assert np.abs(frames.astype(int) - upright).mean() < 3
    info = probe_video(path)
    assert (info.width, info.height, info.rotation) == (48, 64, rotation)
    assert all_frames(path, 10.0, size=(32, 24)).shape == (4, 32, 24, 3)
    mux(path, tone(0.4), RATE, tmp_path / "dub.mp4")
    assert probe_video(tmp_path / "dub.mp4").rotation == rotation


@pytest.mark.parametrize(
    ("codec", "pixels", "height", "width"),
    [
        ("libx265", "yuv420p10le", 48, 64),  # ten bits
        ("libx264", "yuv422p10le", 48, 64),
        ("libx264", "yuv444p", 37, 51),  # odd sides
        ("libx264", "yuv420p", 96, 36),  # portrait
    ],
)
def test_pixels_of_any_kind_come_as_eight_bit_rgb(
    tmp_path: Path, codec: str, pixels: str, height: int, width: int
) -> None:
    with av.open(str(tmp_path / "in.mkv"), "w") as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width, stream.pix_fmt = height, width, pixels
        for value in (40, 120, 200):
            picture = grey_frames([value] * 10, height, width)
            for one in picture:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(one, format="rgb24")))
        container.mux(stream.encode(None))
    frames = all_frames(tmp_path / "in.mkv")
    assert frames.shape[1:] == (height, width, 3) and frames.dtype == np.uint8
    seen = frames.mean(axis=(1, 2, 3))
    assert seen[2] == pytest.approx(40, abs=4) and seen[-2] == pytest.approx(200, abs=4)
    info = probe_video(tmp_path / "in.mkv")
    assert (info.height, info.width) == (height, width)
    small = all_frames(tmp_path / "in.mkv", size=(24, 16))
    assert small.shape[0] == frames.shape[0] and small.shape[1:] in ((16, 24, 3), (24, 16, 3))


def test_one_frame_is_a_video(tmp_path: Path) -> None:
    write_video(tmp_path / "one.mp4", grey_frames([77]), 25)
    assert all_frames(tmp_path / "one.mp4").shape == (1, 48, 64, 3)
    assert all_frames(tmp_path / "one.mp4", fps=100).shape == (4, 48, 64, 3)


def test_large_frames_come_in_small_chunks(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_frames(range(0, 200, 10), 1080, 1920), 20)
    chunks = list(iter_frames(tmp_path / "a.mp4", 20))
    assert sum(len(chunk) for chunk in chunks) == 20
    assert max(chunk.nbytes for chunk in chunks) <= 48 * 2**20


def test_a_cut_off_video_is_a_clear_error(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    write_video(tmp_path / "a.mp4", rng.integers(0, 255, (100, 64, 64, 3), dtype=np.uint8), 25)
    whole = (tmp_path / "a.mp4").read_bytes()
    for share in (0.01, 0.5, 0.8):  # its index being in front, the last two are cut within the pictures
        (tmp_path / "cut.mp4").write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(MediaError, match="cut off"):
            all_frames(tmp_path / "cut.mp4")
    with pytest.raises(MediaError):
        mux(tmp_path / "cut.mp4", tone(1.0), RATE, tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()


def test_what_is_no_video_is_a_clear_error(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1.0), RATE)
    (tmp_path / "noise.mp4").write_bytes(np.random.default_rng(0).bytes(20_000))
    (tmp_path / "empty.mp4").touch()
    for name, message in (
        ("a.wav", "no video track"),
        ("noise.mp4", "can't be read as a video"),
        ("empty.mp4", "can't be read as a video"),
        ("gone.mp4", "not a file"),
    ):
        for read in (all_frames, probe_video):
            with pytest.raises(MediaError, match=message):
                read(tmp_path / name)


@pytest.mark.parametrize("fps", [0, -1, float("nan"), float("inf")])
def test_a_senseless_rate_is_refused(tmp_path: Path, fps: float) -> None:
    with pytest.raises(ValueError, match="fps"):
        iter_frames(tmp_path / "a.mp4", fps)
    with pytest.raises(ValueError, match="size"):
        iter_frames(tmp_path / "a.mp4", 10, (0, 9))


@pytest.mark.parametrize("suffix", ["mp4", "mov", "mkv"])
def test_mux_keeps_the_picture_byte_for_byte(tmp_path: Path, suffix: str) -> None:
    source, out = tmp_path / "a.mp4", tmp_path / f"b.{suffix}"
    rng = np.random.default_rng(1)
    write_video(source, rng.integers(0, 255, (60, 64, 64, 3), dtype=np.uint8), 30, tone(2.0, 300))
    mux(source, tone(2.0, 1000), RATE, out)
    assert packets(out) == packets(source)
    assert probe_video(out).duration_s == pytest.approx(2.0, abs=0.01)
    audio = read_audio(out)[4000:28_000]
    assert np.argmax(np.abs(np.fft.rfft(audio))) * RATE / len(audio) == pytest.approx(1000, abs=2)
    np.testing.assert_array_equal(all_frames(out, 30), all_frames(source, 30))


def test_mux_may_replace_its_own_source(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, grey_frames(range(30)), 30)
    before = packets(path)
    stereo = np.stack([tone(1.0), 0 * tone(1.0)], axis=1)
    mux(path, stereo, RATE, path)
    assert packets(path) == before
    assert probe_video(path).has_audio
    assert list(tmp_path.iterdir()) == [path]


def test_sound_and_picture_lie_side_by_side(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    write_video(path, grey_frames(range(200)), 10, tone(20.0))
    with av.open(str(path)) as container:
        order = sorted(
            (packet.pos, packet.stream.type, float(packet.dts * packet.time_base))
            for packet in container.demux()
            if packet.pos is not None and packet.dts is not None
        )
    times = {"video": 0.0, "audio": 0.0}
    for _, kind, time_s in order:
        times[kind] = time_s
        assert abs(times["video"] - times["audio"]) < 3.0


def test_a_written_rate_is_exact(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", grey_frames(range(43)), 21.5)
    info = probe_video(tmp_path / "a.mp4")
    assert info.fps == 21.5
    assert info.duration_s == pytest.approx(2.0, abs=1e-3)
    assert len(all_frames(tmp_path / "a.mp4")) == 43


def test_videos_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    good = grey_frames([1, 2])
    for frames, message in (
        (good[:0], "no frames"),
        (good[:, :47], "even sides"),
        (good.astype(np.float32), "uint8"),
        ([good[0], good[0, :24]], "one size"),
    ):
        with pytest.raises(ValueError, match=message):
            write_video(tmp_path / "a.mp4", frames, 25)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="fps"):
        write_video(tmp_path / "a.mp4", good, 0)
    with pytest.raises(ValueError, match=r"choose \.mp4"):
        write_video(tmp_path / "a.gif", good, 25)
    for audio in (np.array([np.nan], np.float32), np.array([2.0], np.float32), np.zeros((5, 6), np.float32)):
        with pytest.raises(ValueError, match="sound"):
            write_video(tmp_path / "a.mp4", good, 25, audio)
    assert not list(tmp_path.iterdir())
