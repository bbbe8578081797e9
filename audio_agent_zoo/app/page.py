"""The studio as a page: chat, timeline, table of steps, stems and export. Runs as a Hugging Face Space unchanged."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gradio as gr

from audio_agent_zoo.app.page_actions import Page, PageSettings
from audio_agent_zoo.app.page_layout import STYLE, conversation, export, sound
from audio_agent_zoo.app.visitors import Visitors
from audio_agent_zoo.pipelines.audio_agent import AudioAgent

_PROGRESS = gr.Progress()  # Gradio puts each call's own in its place
_FONTS = ["system-ui", "sans-serif"]
_MONO = ["ui-monospace", "monospace"]


def build(page: Page) -> gr.Blocks:
    """Lay the page out and connect its handlers."""
    with gr.Blocks(title="Audio Agent studio", analytics_enabled=False, delete_cache=(3600, 3600)) as blocks:
        gr.Markdown("# Audio Agent studio")
        gr.Markdown(page.about(), elem_id="about")
        with gr.Row(elem_id="studio"):
            with gr.Column(scale=5, min_width=320):
                left = conversation()
            with gr.Column(scale=7, min_width=320):
                right = sound()
                out = export()

        parts = {
            "chat": left.chat,
            "audio": right.audio,
            "picture": right.picture,
            "table": right.table,
            "step": right.step,
            "take": right.take,
            "json": right.json,
            "status": right.status,
        }
        shown = list(parts.values())
        moving: dict[str, Any] = {"outputs": shown, "show_progress_on": right.audio}
        making: dict[str, Any] = {**moving, "concurrency_id": "model", "concurrency_limit": 1}
        hidden: dict[str, Any] = {"api_visibility": "private"}

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

        def applied_json(
            text: str | None, chat: list[Any], request: gr.Request, progress: gr.Progress = _PROGRESS
        ) -> list[Any]:
            return spread(page.apply_json(text or "", chat, request, progress))

        def another(step: str, chat: list[Any], request: gr.Request, progress: gr.Progress = _PROGRESS) -> list[Any]:
            return spread(page.take(step, None, chat, request, progress))

        def taken(
            step: str, take: int, chat: list[Any], request: gr.Request, progress: gr.Progress = _PROGRESS
        ) -> list[Any]:
            return spread(page.take(step, take, chat, request, progress))

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

        def gone(request: gr.Request) -> None:
            page.visitors.leave(request.session_hash)

        chat, step = left.chat, right.step
        said = left.text.submit(say, [left.text, chat, left.seconds], api_name="say", **making)
        for event in (
            said.then(lambda: "", None, left.text, **hidden),
            right.apply.click(applied, [right.table, chat], **hidden, **making),
            right.apply_json.click(applied_json, [right.json, chat], **hidden, **making),
            right.another.click(another, [step, chat], **hidden, **making),
            right.take.input(taken, [step, right.take, chat], **hidden, **making),
            left.attach.click(attached, [left.upload, left.caption, chat], **hidden, **making),
            left.undo.click(undone, chat, **hidden, **moving),
            left.redo.click(redone, chat, **hidden, **moving),
        ):
            event.then(watched, None, right.film, **hidden)
        right.table.input(page.cost, right.table, right.status, **hidden)
        step.input(page.choose, step, right.take, **hidden)
        right.solo.click(page.stem, step, right.stem, **hidden)
        left.stop.click(stopped, None, right.status, queue=False, **hidden)
        out.export.click(
            page.export, [out.formats, out.loudness, out.bits, out.rate], [out.bundle, right.status], **hidden
        )
        blocks.unload(gone)
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
    temporary = None if settings.folder else TemporaryDirectory(prefix="audio-agent-sessions-")
    folder = settings.folder or Path(temporary.name if temporary else "")
    visitors = Visitors(agent, folder, settings.most_visitors, keep=temporary is None)
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
            css=STYLE,
            footer_links=[],
            prevent_thread_lock=not block,
        )
    finally:
        if block:
            visitors.close()
            if temporary is not None:
                temporary.cleanup()
    return blocks


if __name__ == "__main__":
    serve(
        AudioAgent.from_pretrained(os.environ.get("AUDIO_AGENT_WEIGHTS", "foley-mini")),
        PageSettings(port=int(os.environ.get("GRADIO_SERVER_PORT", PageSettings.port))),
    )
