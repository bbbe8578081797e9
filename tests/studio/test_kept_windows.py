"""Windows of a sound that becomes longer or shorter, in numbers; what is heard is in `test_session.py`."""

import pytest

from audio_agent_zoo.studio.kept_windows import fitted_widths

WIDE = {"multiple": 64, "min_columns": 128, "native_columns": 1024}  # the overlap is 64 columns


@pytest.mark.parametrize(
    ("columns", "heard", "widths"),
    [
        (250, (), (256,)),
        (500, (), (512,)),
        (2000, (), (1024, 1024, 1024)),
        # Shorter: the first ones are enough.
        (250, (512,), (512,)),
        (100, (1024, 1024), (1024,)),
        (1024, (1024, 1024), (1024,)),
        (1025, (1024, 1024), (1024, 1024)),
        # Longer: what was heard stays, and as little as it lacks comes behind it.
        (512, (512,), (512,)),
        (513, (512,), (512, 128)),
        (800, (256,), (256, 1024)),
        (2000, (1024, 512), (1024, 512, 1024)),
        (1984, (1024,), (1024, 1024)),
        # Too narrow to give both of its ends to cross-fades.
        (400, (100,), (512,)),
        (1100, (1024, 100), (1024, 256)),
    ],
)
def test_widths(columns: int, heard: tuple[int, ...], widths: tuple[int, ...]) -> None:
    assert fitted_widths(columns, heard, **WIDE) == widths
    assert sum(widths) - 64 * (len(widths) - 1) >= columns
