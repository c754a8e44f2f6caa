// The strip of thumbnails, in the order of names or of scores.

const stripCells = new Map(); // image -> its button

// The images in the order of the strip; what has no score goes last.
function sequence() {
  const images = dataset().images.map((_, i) => i);
  const metric = data.metrics[state.metric];
  if (!metric) return images;
  const sign = (metric.better || 1) * (state.order === "best" ? -1 : 1);
  const value = images.map(stripScore);
  return images.sort((i, k) => {
    if (value[i] === null || value[k] === null) return (value[i] === null) - (value[k] === null) || i - k;
    return sign * (value[i] - value[k]) || i - k;
  });
}

// A model's score, or A's lead over B: where does one method beat another?
const GAP = -1;
function stripScore(image) {
  if (state.model !== GAP) return score(state.model, state.metric, image);
  const [a, b] = [state.a, state.b].map((p) => score(panels[p]?.model, state.metric, image));
  return a === null || b === null ? null : a - b;
}

function step(by) {
  const order = sequence();
  const image = order[order.indexOf(state.image) + by];
  if (image !== undefined) change({ image });
}
$("#previous").onclick = () => step(-1);
$("#next").onclick = () => step(1);

on("dataset", () => {
  const set = dataset();
  stripCells.clear();
  set.images.forEach((name, image) => {
    const picture = element("img", { alt: "", loading: "lazy", decoding: "async" });
    picture.src = picturePath("index_files", set.name, "thumbs", `${name}.jpg`);
    picture.onerror = () => picture.remove();
    const button = element("button", { title: name }, element("span", { class: "thumb" }, picture));
    button.append(element("span", { class: "score" }), element("span", {}, name));
    button.onclick = () => change({ image });
    stripCells.set(image, button);
  });
  choices($("#model"), set.models);
  $("#model").append(element("option", { value: GAP }, "A − B"));
});

function arrange() {
  const strip = $("#strip");
  strip.style.setProperty("--cells", dataset().models.length + 2);
  strip.style.setProperty("--cell", state.model === GAP ? panels[state.b]?.cell : state.model + 2);
  for (const [image, button] of stripCells) {
    const value = state.metric < 0 ? null : stripScore(image);
    $(".score", button).textContent = value === null ? "" : printed(value);
  }
  strip.replaceChildren(...sequence().map((image) => stripCells.get(image)));
  strip.scrollLeft = 0;

  const metric = data.metrics[state.metric];
  $("#metric").value = state.metric;
  $("#model").value = state.model;
  $("#order").hidden = !metric;
  $("#unsorted").hidden = !metric || dataset().images.some((_, image) => stripScore(image) !== null);
  const [first, second] = $$("#order button");
  first.textContent = metric?.better === 0 ? "Highest first" : "Best first";
  second.textContent = metric?.better === 0 ? "Lowest first" : "Worst first";
  for (const button of [first, second]) button.setAttribute("aria-pressed", button.value === state.order);
}
on("dataset metric model order", arrange);
on("a b", () => state.model === GAP && arrange());

on("dataset image metric model order", () => {
  for (const [image, button] of stripCells)
    image === state.image ? button.setAttribute("aria-current", "true") : button.removeAttribute("aria-current");
  const [strip, button] = [$("#strip"), stripCells.get(state.image)];
  if (!button) return;
  const left = button.offsetLeft - strip.offsetLeft;
  if (left < strip.scrollLeft || left + button.offsetWidth > strip.scrollLeft + strip.clientWidth)
    strip.scrollLeft = left - (strip.clientWidth - button.offsetWidth) / 2;
});

$("#metric").replaceChildren(
  element("option", { value: -1 }, "name"),
  ...data.metrics.map((metric, i) => element("option", { value: i }, `${metric.name} ${ARROWS[metric.better]}`)),
);
// A new order starts at its first pair: the worst or the best case is what was asked for.
const sortBy = (changes) => {
  change(changes);
  change({ image: sequence()[0] ?? 0 });
};
$("#metric").onchange = () => sortBy({ metric: Number($("#metric").value) });
$("#model").onchange = () => sortBy({ model: Number($("#model").value) });
$("#order").onclick = (event) => event.target.value && sortBy({ order: event.target.value });
