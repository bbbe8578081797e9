"""The studio as a page: chat, timeline, table of steps, stems and export. Runs as a Hugging Face Space unchanged."""

import os
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import gradio as gr

from audio_agent_zoo.app.page_actions import Page, PageSettings
from audio_agent_zoo.app.page_views import COLUMNS, DATATYPES
from audio_agent_zoo.app.visitors import Visitors
from audio_agent_zoo.pipelines.audio_agent import AudioAgent
from audio_agent_zoo.studio.exports import FORMATS
from audio_agent_zoo.studio.master import LOUDNESS_PROFILES

_PROGRESS = gr.Progress()  # Gradio puts each call's own in its place
_FONTS = ["system-ui", "sans-serif"]
_MONO = ["ui-monospace", "monospace"]
_STYLE = """
.plan-card {border-collapse: collapse; font-size: 0.9em; width: 100%}
.plan-card td {padding: 2px 8px 2px 0; vertical-align: top; border: 0}
.plan-card td:nth-child(2), .plan-card td:last-child {white-space: nowrap; opacity: 0.75}
.gradio-container {max-width: 1400px !important; margin: 0 auto}
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


def build(page: Page) -> gr.Blocks:
    """Lay the page out and connect its handlers."""
    with gr.Blocks(title="Audio Agent studio", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gr.Markdown("# Audio Agent studio")
        gr.Markdown(page.about(), elem_id="about")
        with gr.Row(elem_id="studio"):
            with gr.Column(scale=5, min_width=320):
                chat = gr.Chatbot(
                    label="Conversation", height=430, render_markdown=False, buttons=["copy"], elem_id="chat"
                )
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
                    undo, redo = (
                        gr.Button("Undo", size="sm", min_width=90, elem_id="undo"),
                        gr.Button("Redo", size="sm", min_width=90, elem_id="redo"),
                    )
                    stop = gr.Button("Stop", variant="stop", size="sm", min_width=90, elem_id="stop")
                seconds = gr.Number(10, label="Length of a new timeline in seconds", minimum=1, maximum=60)
                with gr.Accordion("Sound for a video", open=False):
                    upload = gr.Video(label="Video", sources=["upload"], elem_id="upload")
                    caption = gr.Textbox(label="What the picture sounds like", max_length=200)
                    attach = gr.Button("Put it under the timeline", elem_id="attach")
            with gr.Column(scale=7, min_width=320):
                audio = gr.Audio(label="Mix", interactive=False, format="wav", buttons=["download"], elem_id="mix")
                status = gr.Textbox(label="Status", interactive=False, elem_id="status")
                image = gr.Image(
                    label="Timeline: steps, levels, spectrogram",
                    show_label=False,
                    interactive=False,
                    buttons=["download", "fullscreen"],
                    elem_id="timeline",
                )
                film = gr.Video(label="Video with this sound", interactive=False, visible=False, elem_id="film")
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
                    step = gr.Dropdown([], label="Step", interactive=True, elem_id="step")
                    another = gr.Button("Another take", size="sm", min_width=90, elem_id="another")
                    before = gr.Button("Previous take", size="sm", min_width=90, elem_id="before")
                    solo = gr.Button("Hear it alone", size="sm", min_width=90, elem_id="solo")
                stem = gr.Audio(
                    label="Step alone", interactive=False, format="wav", buttons=["download"], elem_id="stem"
                )
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
                    export = gr.Button("Export as a zip", elem_id="export")
                    bundle = gr.File(label="Export", interactive=False, elem_id="bundle")

        parts = {"chat": chat, "audio": audio, "picture": image, "table": table, "step": step, "status": status}
        shown = list(parts.values())
        making: dict[str, Any] = {"outputs": shown, "concurrency_id": "model", "concurrency_limit": 1}

        def spread(values: dict[str, Any]) -> list[Any]:
            return [values[name] for name in parts]

        def say(
            text: str, chat: list[Any], seconds: float, request: gr.Request, progress: gr.Progress = _PROGRESS
        ) -> list[Any]:
            return spread(page.say(text, chat, seconds, request, progress))

        def applied(
            rows: list[list[Any]], chat: list[Any], request: gr.Request, progress: gr.Progress = _PROGRESS
        ) -> list[Any]:
            return spread(page.apply(rows, chat, request, progress))

        def taken(step: str, chat: list[Any], request: gr.Request, progress: gr.Progress = _PROGRESS) -> list[Any]:
            return spread(page.take(step, False, chat, request, progress))

        def taken_back(step: str, chat: list[Any], request: gr.Request, progress: gr.Progress = _PROGRESS) -> list[Any]:
            return spread(page.take(step, True, chat, request, progress))

        def attached(
            path: str, caption: str, chat: list[Any], request: gr.Request, progress: gr.Progress = _PROGRESS
        ) -> list[Any]:
            return spread(page.video(path, caption, chat, request, progress))

        def undone(chat: list[Any], request: gr.Request) -> list[Any]:
            return spread(page.back(chat, False, request))

        def redone(chat: list[Any], request: gr.Request) -> list[Any]:
            return spread(page.back(chat, True, request))

        def watched(request: gr.Request) -> Any:
            path = page.watch(request)
            return gr.Video(value=path, visible=path is not None)

        def stopped(request: gr.Request) -> str:
            page.visitors.get(request.session_hash).stop()
            return "stopping…"

        def left(request: gr.Request) -> None:
            page.visitors.leave(request.session_hash)

        text.submit(say, [text, chat, seconds], api_name="say", **making).then(
            lambda: "", None, text, api_visibility="private"
        ).then(watched, None, film, api_visibility="private")
        apply.click(applied, [table, chat], api_visibility="private", **making).then(
            watched, None, film, api_visibility="private"
        )
        another.click(taken, [step, chat], api_visibility="private", **making).then(
            watched, None, film, api_visibility="private"
        )
        before.click(taken_back, [step, chat], api_visibility="private", **making).then(
            watched, None, film, api_visibility="private"
        )
        attach.click(attached, [upload, caption, chat], api_visibility="private", **making).then(
            watched, None, film, api_visibility="private"
        )
        undo.click(undone, chat, shown, api_visibility="private").then(watched, None, film, api_visibility="private")
        redo.click(redone, chat, shown, api_visibility="private").then(watched, None, film, api_visibility="private")
        table.input(page.cost, table, status, api_visibility="private")
        solo.click(page.stem, step, stem, api_visibility="private")
        stop.click(stopped, None, status, queue=False, api_visibility="private")
        export.click(page.export, [formats, loudness, bits, rate], [bundle, status], api_visibility="private")
        blocks.unload(left)
    return blocks  # type: ignore[no-any-return]  # Gradio types what `with` gives as anything


def serve(agent: AudioAgent, settings: PageSettings | None = None, *, block: bool = True) -> gr.Blocks:
    """Serve the page on this machine alone, without sharing or analytics.

    Args:
        agent: Plans and makes.
        settings: Folder, port and limits.
        block: Wait until the server is stopped.

    Returns:
        The running page; `close()` stops it.
    """
    settings = settings or PageSettings()
    folder = settings.folder or Path(mkdtemp(prefix="audio-agent-sessions-"))
    visitors = Visitors(agent, folder, settings.most_visitors)
    blocks = build(Page(agent, visitors, settings))
    blocks.queue(max_size=settings.longest_queue, default_concurrency_limit=4)
    try:
        blocks.launch(
            server_port=settings.port,
            inbrowser=settings.open_browser,
            share=False,
            max_file_size=settings.largest_upload,
            allowed_paths=[str(folder)],
            theme=gr.themes.Default(font=_FONTS, font_mono=_MONO),
            css=_STYLE,
            footer_links=[],
            prevent_thread_lock=not block,
        )
    finally:
        if block:
            visitors.close()
    return blocks


if __name__ == "__main__":
    serve(AudioAgent.from_pretrained(os.environ.get("AUDIO_AGENT_WEIGHTS", "foley-mini")))
