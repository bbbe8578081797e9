"""Timecode: the label of each frame, at whole rates and at those of NTSC."""

_DROP_FRAME = {30: 2, 60: 4}  # nominal rate -> labels left out each minute but every tenth


def dropped_labels(frame_rate: float) -> int:
    """Labels that drop-frame timecode leaves out each minute: 2 at 29.97, 4 at 59.94, else 0."""
    nominal = round(frame_rate)
    return _DROP_FRAME.get(nominal, 0) if abs(frame_rate - nominal) > 1e-3 else 0


def first_frame(frame_rate: float, start_hour: int) -> int:
    """Number of the frame whose label is `start_hour` o'clock."""
    return start_hour * (3600 * round(frame_rate) - 54 * dropped_labels(frame_rate))


def timecode(seconds: float, frame_rate: float = 25.0, start_hour: int = 0) -> str:
    """Timecode of the frame nearest to an instant, `01:00:02:12`.

    At 29.97 and 59.94 it is drop-frame timecode, with a semicolon before the frames, which keeps in step with
    the clock; at other rates that are not whole (23.976) it counts frames, as editors do.

    Args:
        seconds: Instant from the first frame.
        frame_rate: Frames per second.
        start_hour: Hour of the first frame.

    Source: SMPTE ST 12-1.
    """
    nominal, dropped = round(frame_rate), dropped_labels(frame_rate)
    frames = round(seconds * frame_rate)
    if dropped:
        tens, rest = divmod(frames, 600 * nominal - 9 * dropped)
        # The first minute of ten keeps all of its labels.
        minutes = 0 if rest < 60 * nominal else 1 + (rest - 60 * nominal) // (60 * nominal - dropped)
        frames += dropped * (9 * tens + minutes)
    whole, frame = divmod(frames, nominal)
    hours, minutes, second = whole // 3600 + start_hour, whole // 60 % 60, whole % 60
    width = max(2, len(str(nominal - 1)))
    return f"{hours % 24:02d}:{minutes:02d}:{second:02d}{';' if dropped else ':'}{frame:0{width}d}"
