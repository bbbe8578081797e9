"""Which windows a sound is joined from when its step becomes longer or shorter: what was heard stays."""

from collections.abc import Sequence

from audio_agent_zoo.pipelines.windows import cut_into_windows, overlap_columns


def fitted_widths(
    columns: int, heard: Sequence[int], *, multiple: int, min_columns: int, native_columns: int
) -> tuple[int, ...]:
    """Widths of windows that cover a sound, in mel columns.

    A shorter sound is heard from the first of its windows, a longer one from all of them and more behind.

    Args:
        columns: Columns that are heard.
        heard: Widths it was heard from before; none for a new sound.
        multiple: What the UNet's strides divide.
        min_columns: Narrowest window.
        native_columns: Widest window.
    """
    overlap = overlap_columns(native_columns)
    kept: list[int] = []
    reach = 0
    for width in heard:
        if reach >= columns:
            break
        reach += width - (overlap if kept else 0)
        kept.append(width)
    if reach >= columns:
        return tuple(kept)
    # A window between two others gives both of its ends to cross-fades.
    narrowest = max(min_columns, 2 * overlap)
    if kept and kept[-1] < narrowest:
        reach -= kept.pop() - (overlap if kept else 0)
    more = cut_into_windows(
        0,
        columns - reach + (overlap if kept else 0),
        0,
        multiple=multiple,
        min_columns=narrowest if kept else min_columns,
        native_columns=native_columns,
    )
    return (*kept, *(window.width for window in more))
