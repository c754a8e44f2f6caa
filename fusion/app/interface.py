"""The page of the app, in Gradio: what stands where, and what a click does. No pixel is computed here.

Uploads are files, not Gradio's pictures, which would lose what 16-bit and camera files hold; what is shown are our own
8-bit previews.
"""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import gradio as gr

from fusion import metrics
from fusion.app import texts, work
from fusion.app.messages import Answer, Failed, Request, Step
from fusion.app.processes import Processes
from fusion.app.sessions import Sessions
from fusion.app.set_tab import SetTab
from fusion.app.video_tab import SIZES, VideoTab

STYLE = Path(__file__).with_name("style.css")
RANGES = [("automatic", "auto"), ("of the type", "full"), ("1st to 99th percentile", "percentile")]
STRETCHED = "percentile,percentile"


@dataclass
class Settings:
    """What the page is started with. samples: a folder with ir/ and vi/, or None; pixels: the most of a picture."""

    sessions: Sessions
    processes: Processes
    samples: Path | None = None
    pixels: float = 13e6
    at_a_time: int = 1


class Page:
    """The components, and the functions that their events call."""

    def __init__(self, settings: Settings):
        self.settings = settings
        with gr.Blocks(title="fusion", analytics_enabled=False) as self.blocks:
            gr.HTML(texts.HEAD, elem_id="head")
            with gr.Tab("Pictures"):
                self._sources()
                self._choices()
                self._results()
                self._events()
            with gr.Tab("Videos"):
                VideoTab(settings.sessions, settings.processes, settings.pixels, settings.at_a_time)
            with gr.Tab("Folders"):
                SetTab(settings.sessions, settings.processes, settings.pixels, settings.at_a_time)
            self.blocks.unload(self.left_alone)

    # --- what stands where ------------------------------------------------------------------------------------------

    def _sources(self) -> None:
        names = sorted(p.stem for p in self.settings.samples.glob("ir/*.png")) if self.settings.samples else []
        with gr.Row():
            sides = [("Infrared (or CT, PET, SPECT)", "ir"), ("Visible (or MRI)", "vis")]
            self.files, self.previews = [], []
            for label, side in sides:
                with gr.Column(min_width=280):
                    self.files.append(gr.File(label=label, elem_id=f"{side}-file", height=150))
                    shown = gr.Image(
                        show_label=False, interactive=False, visible=False, elem_id=f"{side}-preview", height=200,
                        buttons=[],
                    )  # fmt: skip
                    self.previews.append(shown)
        self.sample = gr.Dropdown(names, value=None, label="or a sample pair", elem_id="sample", visible=bool(names))
        self.findings = gr.HTML(elem_id="findings", visible=False)
        with gr.Row(elem_id="remedies"):
            self.remedies = {
                key: gr.Button(label, size="sm", visible=False, elem_id=f"remedy-{key}")
                for key, (label, _) in texts.REMEDIES.items()
            }

    def _choices(self) -> None:
        known = list(work.methods())
        default = [name for name in work.DEFAULT if name in known]
        self.methods = gr.CheckboxGroup(known, value=default, label="Methods", elem_id="methods")
        with gr.Accordion("Settings", open=False, elem_id="settings"), gr.Row():
            self.profile = gr.Dropdown([*metrics.profiles(), metrics.ALL], value="cddfuse", label="Scores as in")
            self.task = gr.Dropdown(["infrared-visible", "medical"], label="Task", value="infrared-visible")
            self.output = gr.Dropdown(["colour", "gray"], value="colour", label="Result")
            self.sizes = gr.Dropdown(SIZES, value="same", label="Sizes")
            ranges = [*RANGES, ("1st to 99th percentile of both", STRETCHED)]
            self.range = gr.Dropdown(ranges, value="auto", label="Black and white")
        with gr.Row():
            self.fuse = gr.Button("Fuse", variant="primary", elem_id="fuse")
            self.stop = gr.Button("Stop", elem_id="stop", interactive=False)
        self.message = gr.HTML(elem_id="message")

    def _results(self) -> None:
        self.kept = gr.State({})
        with gr.Column(visible=False, elem_id="results") as self.results:
            with gr.Row():
                self.left = gr.Dropdown([], label="Left", elem_id="left")
                self.right = gr.Dropdown([], label="Right", elem_id="right")
            self.slider = gr.ImageSlider(show_label=False, interactive=False, elem_id="slider", max_height=440)
            self.scores = gr.HTML(elem_id="scores")
            self.gallery = gr.Gallery(
                show_label=False, interactive=False, elem_id="gallery", columns=6, object_fit="contain", height="auto",
                buttons=["download", "fullscreen"],
            )  # fmt: skip
            self.download = gr.DownloadButton("Download pictures and scores", elem_id="download")

    # --- what a click does ------------------------------------------------------------------------------------------

    def _events(self) -> None:
        work_here = {"concurrency_id": "work", "concurrency_limit": self.settings.at_a_time, "show_progress": "hidden"}
        quick = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
        options = [self.profile, self.task, self.output, self.sizes, self.range]
        looked = [self.message, self.findings, *self.previews, *self.remedies.values()]
        looking = {"fn": self.look, "inputs": [*self.files, *options], "outputs": looked, **work_here}
        looking |= {"api_visibility": "private", "trigger_mode": "always_last"}
        made = [
            self.message, self.fuse, self.stop, self.results, self.kept, self.left, self.right, self.slider,
            self.gallery, self.scores, self.download,
        ]  # fmt: skip
        fusing = {"fn": self.fused, "inputs": [*self.files, self.methods, *options], "outputs": made, **work_here}
        fusing |= {"api_visibility": "private", "trigger_mode": "once"}

        for file in self.files:
            gr.on([file.upload, file.clear], **looking)
        chosen = self.sample.input(self.of_sample, self.sample, self.files, **quick)
        chosen.then(**looking)
        jobs = [self.fuse.click(**fusing)]
        for key, button in self.remedies.items():
            outputs = [*self.files, self.task, self.sizes, self.range]
            done = button.click(self.remedy(key), outputs, outputs, **quick)
            jobs.append(done.then(**looking).then(**fusing))
        self.stop.click(self.stopped, None, [self.message, self.fuse, self.stop], cancels=jobs, **quick)
        sides = [self.kept, self.left, self.right]
        gr.on([self.left.input, self.right.input], self.slid, sides, self.slider, **quick)

    def of_sample(self, name: str | None) -> list[str | None]:
        folder = self.settings.samples
        return [str(folder / side / f"{name}.png") if folder and name else None for side in ("ir", "vi")]

    @staticmethod
    def remedy(key: str):
        """A function of (ir, vis, task, sizes, range) that does what a remedy's button says."""

        def done(ir, vis, task, sizes, how):
            if key == "swap":
                return vis, ir, task, sizes, how
            values = {"task": task, "sizes": sizes, "range": how, **texts.REMEDIES[key][1]}
            return ir, vis, values["task"], values["sizes"], values["range"]

        return done

    def request(self, session: str, ir, vis, methods, profile, task, output, sizes, how) -> Request:
        self.settings.sessions.brought(session, ir, vis)
        out = self.settings.sessions.folder(session)
        return Request(
            Path(ir), Path(vis), out, tuple(methods), profile, task, output, sizes, how, self.settings.pixels
        )

    def look(self, request: gr.Request, ir, vis, *options) -> Iterator[list]:
        """(message, findings, previews, remedies)."""
        nothing = [gr.skip() for _ in self.remedies]
        if not (ir and vis):
            self.settings.sessions.brought(request.session_hash, ir, vis)
            hidden = gr.update(visible=False)
            yield [texts.quiet(texts.missing(ir, vis)), hidden, hidden, hidden, *[hidden for _ in self.remedies]]
            return
        asked = self.request(request.session_hash, ir, vis, (), *options)
        for answer in self.settings.processes.run(request.session_hash, asked):
            if isinstance(answer, Step):
                yield [texts.progress(answer), gr.skip(), gr.skip(), gr.skip(), *nothing]
            elif isinstance(answer, Failed):
                hidden = gr.update(visible=False)
                yield [texts.wrong(answer.text), hidden, hidden, hidden, *[hidden for _ in self.remedies]]
            else:
                previews = [gr.update(value=str(path), visible=True) for path in (answer.ir, answer.vis)]
                offered = texts.remedies(answer.findings)
                buttons = [gr.update(visible=key in offered) for key in self.remedies]
                yield ["", gr.update(value=texts.findings(answer), visible=True), *previews, *buttons]

    def fused(self, request: gr.Request, ir, vis, methods, *options) -> Iterator[list]:
        """(message, fuse, stop, and all of the results)."""
        rest = [gr.skip() for _ in range(8)]
        idle = [gr.update(interactive=True), gr.update(interactive=False)]
        if not (ir and vis) or not methods:
            line = texts.missing(ir, vis) if methods else "choose at least one method"
            yield [texts.wrong(line), *idle, *rest]
            return
        busy = [gr.update(interactive=False), gr.update(interactive=True)]
        asked = self.request(request.session_hash, ir, vis, methods, *options)
        for answer in self.settings.processes.run(request.session_hash, asked):
            if isinstance(answer, Step):
                yield [texts.progress(answer), *busy, *rest]
            elif isinstance(answer, Failed):
                yield [texts.wrong(answer.text), *idle, *rest]
            else:
                yield [texts.done(answer), *idle, *self._shown(answer, asked)]

    def _shown(self, answer: Answer, asked: Request) -> list:
        made = [result for result in answer.results if result.picture]
        if not made:
            return [gr.update(visible=False), *[gr.skip() for _ in range(7)]]
        kept = {"infrared": str(answer.ir), "visible": str(answer.vis), **{r.method: str(r.picture) for r in made}}
        left = "infrared" if asked.task == "medical" else "visible"
        captions = {r.method: f"{r.method} · {texts.seconds(r.seconds)}" for r in made}
        return [
            gr.update(visible=True),
            kept,
            gr.update(choices=list(kept), value=left),
            gr.update(choices=list(kept), value=made[0].method),
            (kept[left], str(made[0].picture)),
            [(path, captions.get(name, name)) for name, path in kept.items()],
            texts.scores(answer, asked.profile),
            str(packed(answer, asked)),
        ]

    def stopped(self, request: gr.Request) -> list:
        self.settings.processes.stop(request.session_hash)
        return [texts.quiet("stopped"), gr.update(interactive=True), gr.update(interactive=False)]

    @staticmethod
    def slid(kept: dict, left: str, right: str):
        return (kept[left], kept[right]) if left in kept and right in kept else gr.skip()

    def left_alone(self, request: gr.Request) -> None:
        """The page was closed."""
        self.settings.processes.stop(request.session_hash)
        self.settings.sessions.end(request.session_hash)


def packed(answer: Answer, asked: Request) -> Path:
    """A zip of the results and their scores."""
    table = asked.out / "scores.csv"
    made = [result for result in answer.results if result.picture]
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["method", "profile", "seconds", *made[0].scores])
        writer.writerows([r.method, asked.profile, f"{r.seconds:.4f}", *r.scores.values()] for r in made)
    path = asked.out / "fused.zip"
    with zipfile.ZipFile(path, "w") as archive:  # PNG is compressed already
        for file in (table, *(result.picture for result in made)):
            archive.write(file, file.name)
    return path


def launch(page: Page, host: str, port: int | None, mebibytes: float) -> str:
    """Serve the page; returns its address at once. Raises OSError where the port is taken."""
    gr.set_static_paths([page.settings.sessions.made])  # served from where they are, so that they can be deleted
    sans = ["system-ui", "-apple-system", "Segoe UI", "Liberation Sans", "sans-serif"]
    _, address, _ = page.blocks.queue(max_size=64).launch(
        server_name=host,
        server_port=port,
        share=False,
        quiet=True,
        ssr_mode=False,
        prevent_thread_lock=True,
        footer_links=[],
        max_file_size=int(mebibytes * 2**20),
        allowed_paths=[str(page.settings.samples)] if page.settings.samples else [],
        theme=gr.themes.Default(font=sans, font_mono=["ui-monospace", "monospace"], primary_hue="blue"),
        css_paths=STYLE,
    )
    return address
