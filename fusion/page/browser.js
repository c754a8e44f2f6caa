// The stage with its two pictures, and a panel for each picture of the pair.

let panels = [];
const stageLayers = { a: $("#stage .layer.a img"), b: $("#stage .layer.b img") };
const sides = { a: $(".side.a select"), b: $(".side.b select") };

function show(picture, path) {
  picture.classList.toggle("missing", !path);
  if (path) picture.src = path;
  else picture.removeAttribute("src");
}
for (const picture of Object.values(stageLayers)) picture.onerror = () => picture.classList.add("missing");

// --- panels ---

on("dataset", () => {
  panels = panelsOf(dataset());
  const columns = panels.length > 6 ? 3 : 2;
  views.style.setProperty("--columns", columns);
  // So wide that the stage is about as high as the panels beside it.
  views.style.setProperty("--share", `${clamp(Math.ceil(panels.length / columns) / columns + 0.14, 1.4, 1.9)}fr`);
  for (const side of ["a", "b"]) choices(sides[side], panels.map((panel) => panel.label));
  $("#panels").replaceChildren(...panels.map(figure));
});

function figure(panel, p) {
  const picture = element("img", { alt: panel.label, decoding: "async" });
  const absent = element("span", { class: "absent" }, "no picture");
  picture.onload = () => (absent.hidden = true);
  picture.onerror = () => {
    picture.classList.add("missing");
    absent.hidden = false;
  };
  absent.hidden = true;
  const side = (name) => {
    const title = `show as ${name.toUpperCase()} on the stage`;
    const button = element("button", { "data-side": name, title }, name.toUpperCase());
    button.onclick = () => change({ [name]: p });
    return button;
  };
  const name = element("span", { class: "name", title: panel.label }, panel.label);
  if (panel.model !== undefined) name.prepend(element("i", { class: "swatch", style: colour(panel.model) }));
  const frame = element("div", { class: "view" }, picture, absent, element("span", { class: "level" }));
  const caption = element("figcaption", {}, name, element("span", { class: "score" }), side("a"), side("b"));
  return element("figure", {}, frame, caption);
}

on("dataset image", () => {
  const set = dataset();
  $$("#panels figure").forEach((figure, p) => {
    const path = panels[p].path(state.image);
    show($("img", figure), path);
    if (!path) $(".absent", figure).hidden = false;
  });
  $("#title b").textContent = set.images[state.image] ?? "";
  preloadNeighbours();
});

on("dataset image metric order model", () => {
  const total = dataset().images.length;
  $("#title small").textContent = total ? `${sequence().indexOf(state.image) + 1} of ${total}` : "";
});

on("dataset image metric", () => {
  const name = data.metrics[state.metric]?.name;
  $$("#panels .score").forEach((label, p) => {
    const value = name && panels[p].model !== undefined ? score(panels[p].model, state.metric, state.image) : null;
    label.replaceChildren(...(value === null ? [] : [element("i", {}, `${name} `), printed(value)]));
  });
});

// So that the arrow keys show the next pair at once.
let neighbours = [];
function preloadNeighbours() {
  const order = sequence();
  const here = order.indexOf(state.image);
  const wanted = [order[here + 1], order[here - 1]].filter((image) => image !== undefined);
  const load = (path) => Object.assign(new Image(), { src: path });
  whenIdle(() => {
    const paths = wanted.flatMap((image) => panels.map((panel) => panel.path(image)));
    neighbours = paths.filter(Boolean).map(load);
  });
}

// --- stage ---

on("dataset image a b", () => {
  for (const side of ["a", "b"]) {
    show(stageLayers[side], panels[state[side]]?.path(state.image));
    sides[side].value = state[side];
  }
});
on("dataset a b", () => {
  for (const button of $$("#panels [data-side]")) {
    const p = $$("#panels figure").indexOf(button.closest("figure"));
    button.setAttribute("aria-pressed", state[button.dataset.side] === p);
  }
});
for (const side of ["a", "b"]) sides[side].onchange = () => change({ [side]: Number(sides[side].value) });

on("mode", () => {
  stage.classList.toggle("difference", state.mode === "difference");
  $("#legend").hidden = state.mode !== "difference";
  $$("#mode button").forEach((button) => button.setAttribute("aria-pressed", button.value === state.mode));
});
$("#mode").onclick = (event) => event.target.value && change({ mode: event.target.value });

// --- difference: half of A plus half of inverted B is 0.5 + (A - B) / 2, which a filter colours; no pixel is read ---

const GAINS = [1, 2, 4, 8];
// Blue where B is brighter, orange where A is, both growing lighter away from the near-black of equality.
const BLUE = [[225, 240, 255], [86, 170, 245], [20, 84, 170]];
const ORANGE = [[170, 74, 10], [245, 152, 50], [255, 240, 215]];
const RAMP = [...BLUE, [16, 18, 20], ...ORANGE];

function rampAt(t) { // t from -1 (B) to 1 (A)
  const position = ((clamp(t, -1, 1) + 1) / 2) * (RAMP.length - 1);
  const k = Math.min(Math.floor(position), RAMP.length - 2);
  return RAMP[k].map((low, channel) => low + (position - k) * (RAMP[k + 1][channel] - low));
}

on("gain", () => {
  // One entry per 8-bit value; half a level of rounding, 127 or 128, is no difference.
  const away = (i) => Math.sign(i - 127.5) * (Math.abs(i - 127.5) - 0.5);
  const colours = Array.from({ length: 256 }, (_, i) => rampAt((away(i) / 127) * state.gain));
  ["R", "G", "B"].forEach((name, channel) => {
    const table = colours.map((rgb) => (rgb[channel] / 255).toFixed(4)).join(" ");
    $(`#diverging feFunc${name}`).setAttribute("tableValues", table);
  });
  const limit = Math.round(255 / state.gain);
  const [left, right] = $$("#legend span");
  left.textContent = `B +${limit}`;
  right.textContent = `A +${limit}`;
  $("#gain").value = GAINS.indexOf(state.gain);
});

const stops = RAMP.map((rgb) => `rgb(${rgb.join(" ")})`);
$("#legend i").style.background = `linear-gradient(90deg, ${stops.join(", ")})`;
choices($("#gain"), GAINS.map((gain) => `×${gain}`));
$("#gain").onchange = () => change({ gain: GAINS[$("#gain").value] });
