"""The part of the page that compares methods on two folders."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from fusion import metrics
from fusion.app import texts, work
from fusion.app.messages import Failed, SetRequest, Step
from fusion.app.processes import Processes
from fusion.app.sessions import Sessions


class SetTab:
    """Its components, and the functions that their events call."""

    def __init__(self, sessions: Sessions, processes: Processes, pixels: float, at_a_time: int):
        self.sessions, self.processes, self.pixels = sessions, processes, pixels
        known = list(work.methods())
        with gr.Row():
            labels = {"ir": "Folder of infrared pictures", "vis": "Folder of visible pictures"}
            folders = [
                gr.File(label=label, elem_id=f"{side}-folder", height=160, file_count="directory")
                for side, label in labels.items()
            ]
        methods = gr.CheckboxGroup(
            known, value=[name for name in work.DEFAULT if name in known], label="Methods", elem_id="set-methods"
        )
        profile = gr.Dropdown(metrics.profiles(), value="cddfuse", label="Scores as in")
        with gr.Row():
            start = gr.Button("Compare", variant="primary", elem_id="set-compare")
            stop = gr.Button("Stop", elem_id="set-stop", interactive=False)
        message = gr.HTML(elem_id="set-message")
        download = gr.DownloadButton("Download the comparison", visible=False, elem_id="set-download")
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        limits = {"concurrency_id": "work", "concurrency_limit": at_a_time, "trigger_mode": "once"}
        job = start.click(
            self.compared, [*folders, methods, profile], [message, start, stop, download], **quiet, **limits
        )
        stop.click(self.stopped, None, [message, start, stop], cancels=job, queue=False, **quiet)

    def compared(self, request: gr.Request, ir, vis, methods: list[str], profile: str) -> Iterator[list]:
        """(message, compare, stop, download)."""
        idle = [gr.update(interactive=True), gr.update(interactive=False)]
        if not (ir and vis and methods):
            line = (
                "choose a folder of infrared and one of visible pictures" if methods else "choose at least one method"
            )
            yield [texts.wrong(line), *idle, gr.skip()]
            return
        session = request.session_hash
        self.sessions.brought(session, *ir, *vis)
        files = (tuple(map(Path, side)) for side in (ir, vis))
        asked = SetRequest(*files, self.sessions.folder(session), tuple(methods), profile, self.pixels)
        busy = [gr.update(interactive=False), gr.update(interactive=True)]
        for answer in self.processes.run(session, asked):
            if isinstance(answer, Step):
                yield [texts.progress(answer), *busy, gr.skip()]
            elif isinstance(answer, Failed):
                yield [texts.wrong(answer.text), *idle, gr.skip()]
            else:
                yield [texts.compared(answer), *idle, gr.update(value=str(answer.archive), visible=True)]

    def stopped(self, request: gr.Request) -> list:
        self.processes.stop(request.session_hash)
        return [texts.quiet("stopped"), gr.update(interactive=True), gr.update(interactive=False)]
