"""The part of the page that fuses two videos."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from fusion.app import texts, work
from fusion.app.messages import Failed, Request, Step
from fusion.app.processes import Processes
from fusion.app.sessions import Sessions

SIZES = [("as they are", "same"), ("align", "align"), ("resize infrared", "ir"), ("resize visible", "vis")]


class VideoTab:
    """Its components, and the functions that their events call."""

    def __init__(self, sessions: Sessions, processes: Processes, pixels: float, at_a_time: int):
        self.sessions, self.processes, self.pixels = sessions, processes, pixels
        known = list(work.methods())
        with gr.Row():
            labels = {"ir": "Infrared video", "vis": "Visible video"}
            files = [gr.File(label=label, elem_id=f"{side}-video", height=150) for side, label in labels.items()]
        with gr.Row():
            method = gr.Dropdown(known, value=known[0], label="Method", elem_id="video-method")
            sizes = gr.Dropdown(SIZES, value="same", label="Sizes")
        with gr.Row():
            fuse = gr.Button("Fuse videos", variant="primary", elem_id="video-fuse")
            stop = gr.Button("Stop", elem_id="video-stop", interactive=False)
        message = gr.HTML(elem_id="video-message")
        shown = gr.Video(show_label=False, interactive=False, visible=False, elem_id="video", buttons=[])
        download = gr.DownloadButton("Download video", visible=False, elem_id="video-download")
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        limits = {"concurrency_id": "work", "concurrency_limit": at_a_time, "trigger_mode": "once"}
        job = fuse.click(self.fused, [*files, method, sizes], [message, fuse, stop, shown, download], **quiet, **limits)
        stop.click(self.stopped, None, [message, fuse, stop], cancels=job, queue=False, **quiet)

    def fused(self, request: gr.Request, ir, vis, method: str, sizes: str) -> Iterator[list]:
        """(message, fuse, stop, video, download)."""
        idle = [gr.update(interactive=True), gr.update(interactive=False)]
        if not (ir and vis):
            yield [texts.wrong("choose an infrared and a visible video"), *idle, gr.skip(), gr.skip()]
            return
        session = request.session_hash
        self.sessions.brought(session, ir, vis)
        asked = Request(
            Path(ir), Path(vis), self.sessions.folder(session), (method,), sizes=sizes, pixels=self.pixels, videos=True
        )
        busy = [gr.update(interactive=False), gr.update(interactive=True)]
        for answer in self.processes.run(session, asked):
            if isinstance(answer, Step):
                yield [texts.progress(answer), *busy, gr.skip(), gr.skip()]
            elif isinstance(answer, Failed):
                yield [texts.wrong(answer.text), *idle, gr.skip(), gr.skip()]
            else:
                films = [gr.update(value=str(path), visible=True) for path in (answer.preview, answer.video)]
                yield [texts.filmed(answer), *idle, *films]

    def stopped(self, request: gr.Request) -> list:
        self.processes.stop(request.session_hash)
        return [texts.quiet("stopped"), gr.update(interactive=True), gr.update(interactive=False)]
