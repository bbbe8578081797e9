"""A photograph that an encoder refreshes stays still; a slow pan, a small thing and a flash do not."""

from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from audio_agent_zoo.media import iter_frames
from audio_agent_zoo.pipelines.picture_motion import PictureMotion, notes_on

Frames = NDArray[np.uint8]


def photograph(height: int = 120, width: int = 160) -> Frames:
    rows, columns = np.mgrid[:height, :width]
    tones = np.stack([127 + 60 * np.sin(columns / 17 + c) + 40 * np.cos(rows / 9 * (c + 1)) for c in range(3)], -1)
    return (tones + np.random.default_rng(0).normal(0, 12, tones.shape)).clip(0, 255).astype(np.uint8)


def moves(pieces: list[Frames]) -> bool:
    motion = PictureMotion()
    for piece in pieces:
        motion.look(piece)
    return motion.seen


@pytest.mark.parametrize("crf", ["23", "30", "36"])
def test_key_frames_are_no_motion(tmp_path: Path, crf: str) -> None:
    path, picture = tmp_path / "still.mp4", photograph()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": crf, "g": "12"})
        stream.height, stream.width, stream.pix_fmt = *picture.shape[:2], "yuv420p"
        for _ in range(40):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    pieces = list(iter_frames(path, size=(60, 80)))  # as a tower sees it
    steps = np.abs(np.diff(np.concatenate(pieces).astype(float), axis=0)).mean((1, 2, 3))
    assert steps.max() > 0.1, "the encoder did refresh it"
    assert not moves(pieces)


def test_motion_is_seen_however_slow_small_or_short() -> None:
    still = np.repeat(photograph()[None], 60, axis=0)
    wide = photograph(width=220)
    pan = np.stack([wide[:, i // 4 : i // 4 + 160] for i in range(60)])
    small, flash, late = still.copy(), still.copy(), still.copy()
    for i in range(60):
        small[i, 40:56, i : i + 16] = 255
    flash[33] = 255 - flash[33]
    late[31:] = np.roll(still[31:], 9, axis=2)
    assert not moves([still]) and not moves([still[:1]])
    for frames in (pan, small, flash, late):
        assert moves([frames]) and moves(np.array_split(frames, 7)) and moves([frames[i : i + 1] for i in range(60)])
    assert moves([still[:31], late[31:]]), "between two pieces"


def test_notes_name_the_video_where_there_are_several() -> None:
    assert notes_on([True], ["rain"]) == ()
    (note,) = notes_on([False], ["rain"])
    assert note.startswith("nothing moves") and "follows the caption" in note
    several = notes_on([True, False, True, False], ["rain", "rain", "", ""])
    assert [note.split(":")[0] for note in several] == ["video 2", "video 3", "video 4"]
    assert "no caption" not in several[0] and "nothing moves" not in several[1] and "no caption" in several[2]
