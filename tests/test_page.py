"""The result page: what it is made of (Python alone), and what it does, in a real headless Chromium from `file://`."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from chromium import eventually, find, in_browser, screenshots

from fusion import images, page
from fusion.page import pictures, tables

ROOT = Path(__file__).resolve().parents[1]
METRICS = {"EN": True, "MSE": False, "SSIM": True}
EVIL = "<script>alert(1)</script>"
MODELS = ("average", "sharp & <b>bold", "slow")


def picture(h: int, w: int, *channels: int, seed: int = 0) -> np.ndarray:
    """Blobs, so that PNG and the eye have something to hold on to; colours where asked for."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 8, *channels), dtype=np.uint8)
    return cv2.resize(small, (w, h), interpolation=cv2.INTER_CUBIC)


class Results:
    """A result folder as test.py leaves it, of made-up numbers."""

    def __init__(self, out: Path, names=("a", "b", "c"), models=MODELS, size=(60, 80), dataset="TNO"):
        self.out, self.names, self.models, self.size, self.dataset = out, list(names), list(models), size, dataset
        rng = np.random.default_rng(5)
        self.scores = rng.uniform(1, 9, (len(self.models), len(self.names), len(METRICS))).round(3)
        self.rows = [
            {
                "model": model,
                "images": len(self.names),
                "seconds": 0.01 * (m + 1),
                "times": {name: 0.01 * (m + 1) + 0.001 * i for i, name in enumerate(self.names)},
                "mean": dict(zip(METRICS, map(float, self.scores[m].mean(axis=0)), strict=True)),
                "undefined": {},
            }
            for m, model in enumerate(self.models)
        ]
        self.summary = {
            "profile": "cddfuse",
            "metrics": {name: {"higher_is_better": up, "note": f"about {name}"} for name, up in METRICS.items()},
            "datasets": [{"name": dataset, "pairs": len(self.names), "rows": self.rows}],
            "skipped": {},
            "failures": [],
        }

    def write(self) -> Path:
        """Pictures, tables and page; returns the page."""
        pairs = []
        for i, name in enumerate(self.names):
            ir, vis = picture(*self.size, seed=i), picture(*self.size, 3, seed=100 + i)
            paths = [self.out.parent / "sources" / kind / f"{name}.png" for kind in ("ir", "vis")]
            for path, image in zip(paths, (ir, vis), strict=True):
                images.write(path, image)
            pairs.append((name, *paths))
            for m, model in enumerate(self.models):
                if "/" not in model:
                    mixed = (ir[..., None] * 0.5 + vis * 0.5) if m == 0 else picture(*self.size, 3, seed=10 * m + i)
                    images.write(self.out / self.dataset / model / f"{name}.png", mixed.astype(np.uint8))
        page.add_sources(self.out, self.dataset, pairs)
        return self.tabulate()

    def tabulate(self) -> Path:
        with (self.out / "metrics.csv").open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["dataset", "model", "profile", "image", *METRICS])
            for i, name in enumerate(self.names):
                for m, model in enumerate(self.models):
                    writer.writerow([self.dataset, model, "cddfuse", name, *self.scores[m, i]])
        (self.out / "summary.json").write_text(json.dumps(self.summary), encoding="utf-8")
        return page.write(self.out)

    def panels(self, name: str) -> list[np.ndarray]:
        """The pair's pictures in the order of the page."""
        folder = self.out / "index_files" / self.dataset
        paths = [folder / "ir" / f"{name}.png", folder / "vis" / f"{name}.png"]
        return [images.read(p) for p in (*paths, *(self.out / self.dataset / m / f"{name}.png" for m in self.models))]


def data_of(index: Path) -> dict:
    text = index.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


# --- sources --------------------------------------------------------------------------------------------------------


def chunk(kind: bytes, body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")


def encoded(suffix: str, image: np.ndarray) -> bytes:
    return cv2.imencode(suffix, image)[1].tobytes()


GRAY, COLOUR = picture(40, 50), picture(40, 50, 3)
DEEP = (GRAY.astype(np.uint16) << 8) + 77


@pytest.mark.parametrize(
    ("suffix", "data", "copied"),
    [
        (".png", encoded(".png", GRAY), True),
        (".png", encoded(".png", COLOUR), True),
        (".jpg", encoded(".jpg", COLOUR), True),
        (".png", encoded(".png", DEEP), False),  # 16 bits: browsers cut the low byte, the metrics round
        (".png", encoded(".png", np.dstack([COLOUR, GRAY])), False),  # transparency, which the programs drop
        (".tif", encoded(".tif", COLOUR), False),
        (".bmp", encoded(".bmp", COLOUR), False),
        # A profile changes what a browser shows, and not what the programs read.
        (".png", encoded(".png", GRAY)[:33] + chunk(b"gAMA", b"\0\0\0\1") + encoded(".png", GRAY)[33:], False),
    ],
)
def test_a_source_becomes_what_a_browser_shows_as_the_metrics_read_it(tmp_path, suffix, data, copied):
    source = tmp_path / f"x{suffix}"
    source.write_bytes(data)
    page.add_sources(tmp_path / "out", "D", [("n.1", source, source)])
    ((file, _),) = pictures.sources(tmp_path / "out", "D")["files"].values()
    copy = tmp_path / "out/index_files/D/ir" / file
    assert file == f"n.1{suffix if copied else '.png'}"
    assert (copy.read_bytes() == data) == copied
    assert pictures.shows_as_read(copy.read_bytes())
    np.testing.assert_array_equal(images.grey_levels(images.read(copy)), images.grey_levels(images.read(source)))


def test_a_source_that_cannot_be_read_is_left_out(tmp_path):
    (tmp_path / "bad.png").write_bytes(b"no picture")
    page.add_sources(tmp_path / "out", "D", [("a", tmp_path / "bad.png", tmp_path / "missing.png")])
    assert pictures.sources(tmp_path / "out", "D")["files"] == {"a": [None, None]}


def test_nothing_is_made_twice_and_what_changed_is_made_again(tmp_path):
    def stamps():
        return {p: p.stat().st_mtime_ns for p in (tmp_path / "out/index_files").rglob("*.*") if p.suffix != ".json"}

    results = Results(tmp_path / "out")
    results.write()
    before = stamps()
    assert {p.parent.name for p in before} == {"ir", "vis", "thumbs", "values"}
    results.tabulate()
    assert stamps() == before
    images.write(results.out / "TNO/average/b.png", picture(60, 80, seed=77))
    images.write(tmp_path / "sources/ir/c.png", picture(60, 80, seed=78))
    pairs = [(n, *(tmp_path / "sources" / k / f"{n}.png" for k in ("ir", "vis"))) for n in results.names]
    page.add_sources(results.out, "TNO", pairs)
    results.tabulate()
    after = stamps()
    changed = {f"{p.parent.name}/{p.stem}" for p in after if after[p] != before[p]}
    assert changed == {"ir/c", "thumbs/b", "values/b", "thumbs/c", "values/c"}


def test_the_values_are_the_luminance_that_the_metrics_see(tmp_path):
    results = Results(tmp_path / "out")
    results.write()
    script = (results.out / "index_files/TNO/values/b.js").read_text()
    found = json.loads("[" + re.search(r"luminance\((.*)\);", script)[1] + "]")
    assert found[:2] == ["TNO", "b"]
    for png, image in zip(found[2], results.panels("b"), strict=True):
        levels = cv2.imdecode(np.frombuffer(base64.b64decode(png), np.uint8), cv2.IMREAD_UNCHANGED)
        np.testing.assert_array_equal(levels, images.grey_levels(image))


def test_a_folder_without_its_sources_and_pictures_still_gives_a_page(tmp_path):
    results = Results(tmp_path / "out")
    results.out.mkdir()
    (dataset,) = data_of(results.tabulate())["datasets"]
    assert dataset["sources"] == dataset["sizes"] == [None] * 3
    assert dataset["images"] == results.names


def test_page_and_programs_travel_with_the_package():
    declared = re.search(r'"fusion.page" = \[(.*)\]', (ROOT / "pyproject.toml").read_text())[1]
    for file in (ROOT / "fusion/page").iterdir():
        assert file.suffix == ".py" or f'"*{file.suffix}"' in declared or file.is_dir(), file


# --- tables and data ------------------------------------------------------------------------------------------------


def test_best_and_second_are_marked_by_what_is_printed():
    values = [1.001, 1.004, 3.0, None, 2.0]
    assert tables._places(values, False) == [1, 1, None, None, 2]
    assert tables._places(values, True) == [None, None, 1, None, 2]
    assert tables._places(values, None) == [None] * 5
    assert tables._places(values[:1], True) == [None]
    assert tables._places([1.0, 2.0], True) == [None, 1]  # of two, the other one needs no mark


def test_intervals_ranks_and_footnotes_are_shown_where_the_summary_has_them(tmp_path):
    results = Results(tmp_path / "out")
    results.rows[0] |= {"interval": {"EN": [1.25, 8.5]}, "rank": 1.5, "undefined": {"MSE": 1}, "p": {"EN": 0.0123}}
    results.summary["datasets"][0]["reference"] = "slow"
    text = tables.scores(results.summary["datasets"][0], results.summary)
    assert "95 % interval 1.25 to 8.5" in text
    assert "p = 0.012 against slow" in text
    assert "rank <i" in text
    assert '<td data-value="1.5"><b>1.50</b></td>' in text
    assert "† undefined on 1 more" in text
    assert "rank" not in tables.scores({**results.summary["datasets"][0], "rows": results.rows[1:]}, results.summary)
    assert "MSE is undefined on 1 of 3 pictures" in tables.notes(results.summary)


def test_what_is_undefined_is_null_and_names_are_escaped(tmp_path):
    results = Results(tmp_path / "out", names=("a", EVIL.replace("/", "|")), models=(EVIL, "m"))
    results.scores[1, 0, 1] = np.nan
    results.scores[1, 1, 2] = np.inf
    results.summary["failures"] = [{"dataset": EVIL, "image": EVIL, "model": EVIL, "error": EVIL}]
    index = results.write()
    assert EVIL not in index.read_text(encoding="utf-8")
    (dataset,) = data_of(index)["datasets"]
    assert dataset["models"][0] == EVIL
    order = [dataset["images"].index(name) for name in results.names]
    assert dataset["scores"][1][order[0]][1] is None
    assert dataset["scores"][1][order[1]][2] is None
    assert dataset["scores"][0][order[0]] == list(results.scores[0, 0])


def test_the_page_file_stays_small(tmp_path):
    results = Results(tmp_path / "out", names=[f"{i:05}D" for i in range(361)], models=[f"model_{i}" for i in range(6)])
    results.out.mkdir()
    assert results.tabulate().stat().st_size < 500_000


# --- in the browser -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Results:
    names = ("50% #1? ü'", "b", "c")
    made = Results(tmp_path_factory.mktemp("page") / "out", names=names)
    made.rows[0]["interval"] = {"EN": [1.25, 8.5]}
    for row, mean in zip(made.rows, (4.5, 4.25, 4.125), strict=True):
        row["mean"]["EN"] = mean  # in another order as text than as numbers
    made.write()
    return made


@pytest.fixture
def shown(browser, results):
    """The page, freshly opened; afterwards its console must be empty."""
    browser.get((results.out / "index.html").as_uri())
    yield browser
    assert browser.get_log("browser") == []


def hands(browser):
    from selenium.webdriver import ActionChains

    return ActionChains(browser, duration=20)


def keys(browser, text: str):
    hands(browser).send_keys(text).perform()


def model_column(browser) -> list[str]:
    return browser.execute_script("return $$('table.scores tbody th').map((cell) => cell.textContent)")


ALL_LOADED = "$$('#views img').every((picture) => picture.complete && picture.naturalWidth > 0)"


@in_browser
def test_every_picture_loads_from_disk_without_a_word_on_the_console(shown, results):
    eventually(shown, ALL_LOADED)
    eventually(shown, "$$('#strip img').every((picture) => picture.complete && picture.naturalWidth === 5 * 144)")
    eventually(shown, f"$$('#boxes svg').length === {len(METRICS)} && $$('#times svg').length === 1")
    assert shown.execute_script("return document.documentElement.scrollWidth <= innerWidth")
    assert shown.execute_script("return $('#title b').textContent") == results.names[0]


@in_browser
def test_a_heading_sorts_the_table_and_again_turns_it_round(shown, results):
    means = {row["model"]: row["mean"] for row in results.rows}
    for name, up in METRICS.items():
        button = next(b for b in shown.find_elements("css selector", "thead button") if b.text.startswith(name))
        button.click()
        best_first = sorted(means, key=lambda model: means[model][name], reverse=up)
        assert model_column(shown) == best_first
        assert find(shown, "th[aria-sort]").get_attribute("aria-sort") == ("descending" if up else "ascending")
        button.click()
        assert model_column(shown) == best_first[::-1]
    assert len(shown.find_elements("css selector", "th[aria-sort]")) == 1


@in_browser
def test_the_interval_shows_on_hover(shown):
    hands(shown).move_to_element(find(shown, "tbody td")).perform()
    tip = find(shown, "#tip")
    assert tip.is_displayed()
    assert "95 % interval 1.25 to 8.5" in tip.text


@in_browser
def test_dragging_moves_the_split(shown):
    eventually(shown, ALL_LOADED)
    stage = find(shown, "#stage")
    width = stage.rect["width"]

    def split() -> tuple[float, float]:
        """Where the handle stands and where B begins, fractions of the stage."""
        style = shown.execute_script("return getComputedStyle($('.layer.b')).clipPath")
        begins = float(re.search(r"([\d.]+)%\)$", style)[1]) / 100
        handle = find(shown, "#split").rect
        return (handle["x"] + handle["width"] / 2 - stage.rect["x"]) / width, begins

    assert split() == pytest.approx((0.5, 0.5), abs=0.01)
    hands(shown).drag_and_drop_by_offset(find(shown, "#split"), int(width / 4), 0).perform()
    assert split() == pytest.approx((0.75, 0.75), abs=0.01)
    hands(shown).move_to_element_with_offset(stage, -int(width / 4), 40).click().perform()
    assert split() == pytest.approx((0.25, 0.25), abs=0.01)
    shown.execute_script("$('#split').focus()")
    keys(shown, "\ue014\ue014")  # arrow right: the handle moves, the pair stays
    assert split() == pytest.approx((0.29, 0.29), abs=0.01)
    assert find(shown, "#split").get_attribute("aria-valuenow") == "29"
    assert shown.execute_script("return state.image") == 0


PLACES = """
return $$("#views .view").map((frame) => {
  const outer = frame.getBoundingClientRect();
  return $$("img", frame).map((picture) => {
    const inner = picture.getBoundingClientRect();
    return [inner.width / outer.width, (inner.left - outer.left) / outer.width, (inner.top - outer.top) / outer.height];
  });
}).flat();
"""


@in_browser
def test_zoom_and_pan_are_locked_across_all_panels(shown):
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    eventually(shown, ALL_LOADED)

    def place() -> np.ndarray:
        """(zoom, x, y), the same for the two layers of the stage and for every panel."""
        places = np.array(shown.execute_script(PLACES))
        assert places.shape == (2 + 2 + len(MODELS), 3)
        assert np.ptp(places, axis=0).max() < 1e-3
        return places[0]

    np.testing.assert_allclose(place(), (1, 0, 0), atol=1e-3)
    panel = shown.find_elements("css selector", "#panels .view")[3]
    origin = ScrollOrigin.from_element(panel, int(panel.rect["width"] / 4), 0)
    hands(shown).key_down("\ue009").scroll_from_origin(origin, 0, -60).key_up("\ue009").perform()
    zoom, x, y = place()
    assert zoom > 1.2
    assert (x, y) == pytest.approx((0.75 * (1 - zoom), 0.5 * (1 - zoom)), abs=0.02)  # that place stays where it is
    hands(shown).drag_and_drop_by_offset(panel, -int(panel.rect["width"] / 20), 0).perform()
    assert place() == pytest.approx((zoom, x - 0.05, y), abs=0.02)
    keys(shown, "+")
    assert place()[0] > zoom
    at = place()
    keys(shown, "\ue014")  # the next pair is shown at the same place
    eventually(shown, ALL_LOADED)
    np.testing.assert_allclose(place(), at, atol=1e-3)
    keys(shown, "0")
    np.testing.assert_allclose(place(), (1, 0, 0), atol=1e-3)
    before = shown.execute_script("return scrollY")
    hands(shown).scroll_from_origin(origin, 0, 60).perform()  # a plain wheel scrolls the page
    eventually(shown, f"scrollY > {before}")
    assert place()[0] == pytest.approx(1, abs=1e-3)


@in_browser
def test_the_values_under_the_cursor_are_those_of_the_files(shown, results):
    eventually(shown, ALL_LOADED)
    frame = shown.find_elements("css selector", "#panels .view")[2]
    for zoom, dx, dy in ((1, 0.1, 0.2), (3, -0.3, 0.25)):
        shown.execute_script(f"place({zoom}, {(1 - zoom) * 0.4}, {(1 - zoom) * 0.3})")
        offset = int(dx * frame.rect["width"]), int(dy * frame.rect["height"])
        hands(shown).move_to_element_with_offset(frame, *offset).perform()
        eventually(shown, "levels.planes.length > 0")
        found = [label.text for label in shown.find_elements("css selector", "#panels .level")]
        text = find(shown, "#readout").text
        x, y = (int(re.search(rf"{axis} (\d+)", text)[1]) for axis in "xy")
        u, v = ((0.5 + d - (1 - zoom) * s) / zoom for d, s in ((dx, 0.4), (dy, 0.3)))
        h, w = results.size
        assert (x, y) == pytest.approx((u * w, v * h), abs=1.1)
        levels = [int(images.grey_levels(image)[y, x]) for image in results.panels(results.names[0])]
        assert found == [str(level) for level in levels]
        a, b = (shown.execute_script(f"return state.{side}") for side in "ab")
        assert re.search(rf"A {levels[a]}\s*B {levels[b]}\s*A", text)


@in_browser
def test_sides_difference_and_keys(shown):
    assert shown.execute_script("return [state.a, state.b]") == [1, 2]
    keys(shown, "x")
    assert shown.execute_script("return [state.a, state.b]") == [2, 1]
    keys(shown, "4")
    assert shown.execute_script("return [sides.a.value, sides.b.value]") == ["2", "3"]
    shown.find_elements("css selector", "#panels [data-side=a]")[0].click()
    assert "infrared" in shown.execute_script("return sides.a.selectedOptions[0].textContent")
    assert "ir/" in shown.execute_script("return $('#stage .layer.a img').src")
    keys(shown, "d")
    assert "difference" in find(shown, "#stage").get_attribute("class")
    assert find(shown, "#legend").is_displayed()
    for key, expected in (("\ue014", 1), ("\ue014", 2), ("\ue014", 2), ("\ue012", 1)):
        keys(shown, key)
        assert shown.execute_script("return state.image") == expected
    assert shown.current_url.endswith("#TNO/b")


def stage_centre(browser) -> np.ndarray:
    """The rendered middle of the stage, RGB."""
    return images_of(find(browser, "#stage").screenshot_as_png)


def images_of(png: bytes) -> np.ndarray:
    image = cv2.cvtColor(cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    h, w = image.shape[:2]
    return image[h // 3 : h // 2, w // 3 : w // 2].astype(int)


@in_browser
def test_the_difference_map_is_black_where_pictures_agree_and_tells_who_is_brighter(browser, tmp_path):
    results = Results(tmp_path / "out", names=("a",), models=("dark", "bright", "again"))
    results.write()
    for model, level in (("dark", 80), ("bright", 140), ("again", 140)):
        images.write(results.out / f"TNO/{model}/a.png", np.full(results.size, level, np.uint8))
    browser.get(results.tabulate().as_uri())
    eventually(browser, ALL_LOADED)
    browser.execute_script("change({mode: 'difference', a: 3, b: 4})")
    equal = stage_centre(browser)
    assert equal.max() < 25
    browser.execute_script("change({b: 2})")  # A is brighter: orange
    eventually(browser, ALL_LOADED)
    r, _, b = stage_centre(browser).mean(axis=(0, 1))
    assert r > b + 60
    browser.execute_script("change({a: 2, b: 3})")
    eventually(browser, ALL_LOADED)
    r, _, b = stage_centre(browser).mean(axis=(0, 1))
    assert b > r + 60


@in_browser
def test_the_strip_sorts_by_a_metric_and_starts_at_its_worst(shown, results):
    from selenium.webdriver.support.ui import Select

    def order() -> list[str]:
        return shown.execute_script("return $$('#strip button').map((button) => button.title)")

    assert order() == sorted(results.names)
    Select(find(shown, "#model")).select_by_visible_text("slow")
    for metric, (name, up) in enumerate(METRICS.items()):
        Select(find(shown, "#metric")).select_by_index(metric + 1)
        scores = dict(zip(results.names, results.scores[2, :, metric], strict=True))
        worst_first = sorted(scores, key=scores.get, reverse=not up)
        assert order() == worst_first
        assert find(shown, "#title b").text == worst_first[0]
        assert f"{name} {scores[worst_first[0]]:.3g}"[:7] in find(shown, "#panels figure:last-child .score").text
    find(shown, "#order [value=best]").click()
    assert order() == worst_first[::-1]
    Select(find(shown, "#model")).select_by_visible_text("A − B")
    assert find(shown, "#unsorted").is_displayed()  # A is the visible image
    shown.execute_script("change({a: 2, b: 3})")
    lead = dict(zip(results.names, results.scores[0, :, 2] - results.scores[1, :, 2], strict=True))
    assert order() == sorted(lead, key=lead.get, reverse=True)


@in_browser
def test_a_dot_of_a_chart_opens_its_pair(shown, results):
    eventually(shown, "$$('#times .dot').length === 9")
    shown.execute_script(
        "$('#times').scrollIntoView(); $('#times .dot[data-image=\"2\"]').dispatchEvent("
        "new MouseEvent('click', {bubbles: true}))"
    )
    assert find(shown, "#title b").text == sorted(results.names)[2]
    eventually(shown, "$('#browser').getBoundingClientRect().top < 100")


@in_browser
def test_two_data_sets_are_two_tabs_and_the_address_leads_back(browser, tmp_path):
    results = Results(tmp_path / "out")
    results.write()
    other = Results(tmp_path / "out", names=("z",), models=("slow", "average"), dataset="M3 / FD".replace("/", "&"))
    other.write()
    tables_of_both = [(results.out / "metrics.csv").read_text()]
    results.tabulate()
    text = (results.out / "metrics.csv").read_text() + "\n".join(tables_of_both[0].splitlines()[1:]) + "\n"
    (results.out / "metrics.csv").write_text(text)
    results.summary["datasets"] += other.summary["datasets"]
    (results.out / "summary.json").write_text(json.dumps(results.summary))
    index = page.write(results.out)
    browser.get(index.as_uri())
    browser.execute_script("change({b: 4})")  # slow
    find(browser, "#tabs button:nth-child(2)").click()
    eventually(browser, ALL_LOADED)
    assert model_column(browser)[-2:] == ["slow", "average"]
    assert [table.is_displayed() for table in browser.find_elements("css selector", ".dataset")] == [False, True]
    assert browser.execute_script("return panels[state.b].label") == "slow"  # one goes on looking at the same method
    address = browser.current_url
    assert address.endswith("#M3%20%26%20FD/z")
    browser.get("about:blank")
    browser.get(address)
    assert find(browser, "#title b").text == "z"
    assert browser.get_log("browser") == []


@in_browser
def test_a_script_in_a_name_shows_as_text(browser, tmp_path):
    from selenium.common.exceptions import NoAlertPresentException

    evil_file = "<img src=x onerror=alert(2)>"
    results = Results(tmp_path / "out", names=("a", evil_file), models=(EVIL, "m"), dataset="<i>D")
    results.summary["skipped"] = {EVIL: EVIL}
    results.summary["failures"] = [{"dataset": EVIL, "image": EVIL, "model": EVIL, "error": EVIL}]
    browser.get(results.write().as_uri())
    eventually(browser, "$$('#boxes svg').length === 3")
    with pytest.raises(NoAlertPresentException):
        _ = browser.switch_to.alert
    for selector in ("tbody th", "#panels figcaption .name", "#stage option", "#boxes svg text.name", "#notes li"):
        found = browser.execute_script(f"return $$({selector!r}).map((node) => node.textContent)")
        assert any(EVIL in text for text in found), selector
    assert browser.execute_script("return $$('#strip span, #title b').map((n) => n.textContent)").count(evil_file) == 2
    assert browser.execute_script("return $$('.dataset i:not(.swatch, [aria-hidden])').length") == 0


@in_browser
def test_light_dark_and_phone(browser, results):
    def background() -> str:
        return browser.execute_script("return getComputedStyle(document.documentElement).backgroundColor")

    browser.get((results.out / "index.html").as_uri())
    seen = []
    for _ in range(3):
        seen.append((find(browser, "#theme").text.split()[-1], background()))
        find(browser, "#theme").click()
    assert [name for name, _ in seen] == ["Auto", "Light", "Dark"]
    assert seen[0][1] == seen[1][1] != seen[2][1]
    with screenshots.chromium(390, 844, dark=True) as phone:
        phone.get((results.out / "index.html").as_uri())
        eventually(phone, ALL_LOADED)
        assert phone.execute_script("return getComputedStyle(document.documentElement).backgroundColor") == seen[2][1]
        assert phone.execute_script("return document.documentElement.scrollWidth") == 390
        assert find(phone, "#stage").rect["width"] == 390
        assert phone.get_log("browser") == []


# What each does: how often it lays out the strip anew.
ACTIONS = {"step(1)": 0, "sortBy({ metric: 1 })": 1, "change({ model: 2 })": 1, "zoomBy(2)": 0, "hover([0.5, 0.5])": 0}
MADE_BY = """
const before = new Set($$("#strip *")), watch = new MutationObserver(() => {});
watch.observe(document, { childList: true, subtree: true });
ACTION;
const added = watch.takeRecords().flatMap((record) => [...record.addedNodes].map((node) => [node, record.target.id]));
const in_strip = added.filter(([, id]) => id === "strip").map(([node]) => node);
return [added.length - in_strip.length, in_strip.length, in_strip.filter((node) => !before.has(node)).length];
"""


@in_browser
def test_200_pairs_of_4_models_cost_little(browser, tmp_path):
    """A page under 2 MB, some twenty elements a pair, thumbnails only as needed; a step makes a handful of elements and
    leaves the strip alone, a sort moves what is in it."""
    names, models = [f"{i:03}" for i in range(200)], ["average", "cpfusion", "maximum", "ship"]
    results = Results(tmp_path / "out", names=names[:2], models=models, size=(240, 320))
    results.write()
    folder = results.out / "index_files/TNO"
    for i, name in enumerate(names[2:]):
        for path in (*folder.glob(f"*/{i % 2:03}.*"), *results.out.glob(f"TNO/*/{i % 2:03}.png")):
            shutil.copy2(path, path.with_name(name + path.suffix))
    files = {name: [f"{name}.png"] * 2 for name in names}
    (folder / "sources.json").write_text(json.dumps({"labels": ["infrared", "visible"], "files": files}))
    full = Results(results.out, names=names, models=models)
    index = full.tabulate()
    assert index.stat().st_size < 2e6

    browser.get(index.as_uri())
    eventually(browser, ALL_LOADED)
    loaded = browser.execute_script("return $$('#strip img').filter((picture) => picture.naturalWidth).length")
    assert 5 < loaded < 100
    assert browser.execute_script("return $$('*').length") < 20 * len(names)
    for action, moved in ACTIONS.items():
        made, in_strip, new = browser.execute_script(MADE_BY.replace("ACTION", action))
        assert made < 100 + 2 * moved * len(names), action  # a score stands under each picture
        assert (in_strip, new) == (moved * len(names), 0), action
    step_and_decode = "step(1); stageLayers.b.decode().then(() => arguments[0](stageLayers.b.src))"
    assert browser.execute_async_script(step_and_decode).endswith(".png")
    assert browser.get_log("browser") == []
