"""Read and write sound and video files; never leave a half-written file under its final name."""

from audio_agent_zoo.media.files import atomic_path
from audio_agent_zoo.media.frames import VideoInfo, iter_frames, probe_video
from audio_agent_zoo.media.sound import SUBTYPES, read_audio, read_soundtrack, resample, write_audio
from audio_agent_zoo.media.video import mux, write_video

__all__ = [
    "SUBTYPES",
    "VideoInfo",
    "atomic_path",
    "iter_frames",
    "mux",
    "probe_video",
    "read_audio",
    "read_soundtrack",
    "resample",
    "write_audio",
    "write_video",
]
