"""What stands where on the page: conversation on the left, timeline on the right, one below the other on a phone."""

from dataclasses import dataclass

import gradio as gr

from audio_agent_zoo.app.page_views import COLUMNS, DATATYPES
from audio_agent_zoo.studio.exports import FORMATS
from audio_agent_zoo.studio.master import LOUDNESS_PROFILES

# The container's automatic margins would let its widest part, the table, widen it beyond a phone: so its own width.
STYLE = """
.plan-card {border-collapse: collapse; font-size: 0.9em; width: 100%}
.plan-card td {padding: 2px 8px 2px 0; vertical-align: top; border: 0}
.plan-card td:nth-child(2), .plan-card td:last-child {white-space: nowrap; opacity: 0.75}
.gradio-container {max-width: 1400px !important; width: 100% !important; margin: 0 auto}
footer {display: none !important}
@media (max-width: 800px) {
  #studio {flex-direction: column !important}
  #studio > * {width: 100% !important; min-width: 0 !important}
}
"""
_EXAMPLES = (
    "Rain on a roof, then thunder, and a dog barks in the distance",
    "Footsteps, a door knock, then glass breaking",
    "A church bell rings while birds chirp",
)


@dataclass(frozen=True)
class Conversation:
    """Components of the left column."""

    chat: gr.Chatbot
    text: gr.Textbox
    undo: gr.Button
    redo: gr.Button
    stop: gr.Button
    seconds: gr.Number
    upload: gr.Video
    caption: gr.Textbox
    attach: gr.Button


@dataclass(frozen=True)
class Sound:
    """Components of the right column: what there is to hear, see and change."""

    audio: gr.Audio
    status: gr.Textbox
    picture: gr.Image
    film: gr.Video
    table: gr.Dataframe
    apply: gr.Button
    step: gr.Dropdown
    take: gr.Radio
    another: gr.Button
    solo: gr.Button
    stem: gr.Audio
    json: gr.Code
    apply_json: gr.Button


@dataclass(frozen=True)
class Export:
    """Components below the timeline that hand it out."""

    formats: gr.CheckboxGroup
    loudness: gr.Dropdown
    bits: gr.Dropdown
    rate: gr.Dropdown
    export: gr.Button
    bundle: gr.File


def conversation() -> Conversation:
    """Lay out the left column."""
    chat = gr.Chatbot(label="Conversation", height=430, render_markdown=False, buttons=["copy"], elem_id="chat")
    text = gr.Textbox(
        label="What do you want to hear, or to change?",
        placeholder=_EXAMPLES[0],
        lines=1,
        max_lines=4,
        max_length=4000,
        submit_btn=True,
        autofocus=True,
        elem_id="say",
    )
    gr.Examples([[one] for one in _EXAMPLES], text, label="Try")
    with gr.Row():
        undo = gr.Button("Undo", size="sm", min_width=90, elem_id="undo")
        redo = gr.Button("Redo", size="sm", min_width=90, elem_id="redo")
        stop = gr.Button("Stop", variant="stop", size="sm", min_width=90, elem_id="stop")
    seconds = gr.Number(10, label="Length of a new timeline in seconds", minimum=1, maximum=60)
    with gr.Accordion("Sound for a video", open=False):
        upload = gr.Video(label="Video", sources=["upload"], height=240, elem_id="upload")
        caption = gr.Textbox(label="What the picture sounds like", max_length=200)
        attach = gr.Button("Put it under the timeline", elem_id="attach")
    return Conversation(chat, text, undo, redo, stop, seconds, upload, caption, attach)


def sound() -> Sound:
    """Lay out the right column."""
    audio = gr.Audio(label="Mix", interactive=False, format="wav", buttons=["download"], elem_id="mix")
    status = gr.Textbox(label="Status", interactive=False, elem_id="status")
    picture = gr.Image(
        label="Timeline: steps, levels, spectrogram",
        show_label=False,
        interactive=False,
        buttons=["download", "fullscreen"],
        elem_id="timeline",
    )
    film = gr.Video(label="Video with this sound", interactive=False, visible=False, height=320, elem_id="film")
    table = gr.Dataframe(
        headers=list(COLUMNS),
        datatype=list(DATATYPES),  # type: ignore[arg-type]  # literals
        type="array",
        interactive=True,
        static_columns=[0],
        label="Steps (edit a cell, then apply; an empty first cell is a new step)",
        elem_id="steps",
    )
    apply = gr.Button("Apply the table", size="sm", elem_id="apply")
    with gr.Row():
        step = gr.Dropdown([], label="Step", interactive=True, min_width=220, elem_id="step")
        take = gr.Radio([], label="Its takes, to compare", interactive=True, min_width=220, elem_id="take")
    with gr.Row():
        another = gr.Button("Another take", size="sm", min_width=90, elem_id="another")
        solo = gr.Button("Hear it alone", size="sm", min_width=90, elem_id="solo")
    stem = gr.Audio(label="Step alone", interactive=False, format="wav", buttons=["download"], elem_id="stem")
    with gr.Accordion("The plan as JSON", open=False):
        json = gr.Code(language="json", label="Plan", max_lines=24, interactive=True, elem_id="json")
        apply_json = gr.Button("Apply the JSON", size="sm", elem_id="apply-json")
    return Sound(audio, status, picture, film, table, apply, step, take, another, solo, stem, json, apply_json)


def export() -> Export:
    """Lay out what hands the timeline out."""
    with gr.Accordion("Export", open=False):
        formats = gr.CheckboxGroup(
            [one for one in FORMATS if one != "zip"],
            value=["master", "stems", "reaper", "cue_sheet"],
            label="Files",
        )
        with gr.Row():
            loudness = gr.Dropdown(list(LOUDNESS_PROFILES), value="none", label="Loudness in LUFS")
            bits = gr.Dropdown(["16", "24", "32f"], value="24", label="Bits")
            rate = gr.Dropdown(["16000", "48000"], value="48000", label="Samples per second")
        button = gr.Button("Export as a zip", elem_id="export")
        bundle = gr.File(label="Export", interactive=False, elem_id="bundle")
    return Export(formats, loudness, bits, rate, button, bundle)
