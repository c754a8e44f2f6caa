// Box plots of every metric, and the scatter of quality against time: SVG, drawn anew when its width changes.

const ROW = 26; // pixels per box
const LETTER = 6.6; // pixels of a letter, about

// Round numbers from low to high.
function ticks(low, high, about) {
  const rough = (high - low) / about;
  const power = 10 ** Math.floor(Math.log10(rough));
  const by = power * (rough < 1.4 * power ? 1 : rough < 3.2 * power ? 2 : rough < 7 * power ? 5 : 10);
  const found = [];
  for (let k = Math.ceil(low / by - 1e-9); k * by <= high + by * 1e-9; k++) found.push(+(k * by).toPrecision(12));
  return found;
}

// The same on a logarithmic axis: 1, 2 and 5 of every power of ten, or the powers alone.
function logTicks(low, high, most) {
  const powers = [];
  for (let e = Math.floor(Math.log10(low)); e <= Math.ceil(Math.log10(high)); e++) powers.push(e);
  const of = (digits) =>
    powers.flatMap((e) => digits.map((n) => +(n * 10 ** e).toPrecision(3))).filter((t) => t >= low && t <= high);
  return of([1, 2, 5]).length > most ? of([1]) : of([1, 2, 5]);
}

function quantile(sorted, q) {
  const at = (sorted.length - 1) * q;
  const k = Math.floor(at);
  return sorted[k] + (at - k) * ((sorted[k + 1] ?? sorted[k]) - sorted[k]);
}

// [smallest, largest] with a margin, never of no extent.
function extent(values, margin = 0) {
  const [low, high] = [Math.min(...values), Math.max(...values)];
  const pad = (high - low) * margin || (high === low ? Math.abs(high) * 0.1 || 1 : 0);
  return [low - pad, high + pad];
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const duration = (seconds) => (seconds < 1 ? `${+(seconds * 1000).toPrecision(3)} ms` : `${+seconds.toPrecision(3)} s`);
const short = (value) => (Math.abs(value) >= 1000 ? `${+(value / 1000).toPrecision(3)}k` : String(value));
const clipped = (name, most) => (name.length > most ? `${name.slice(0, most - 1)}…` : name);

// {image, value} of every picture on which a metric is defined.
const scored = (model, metric) =>
  dataset().images.map((_, image) => ({ image, value: score(model, metric, image) })).filter((p) => p.value !== null);

// A picture as a dot: a click on it opens the pair.
const dot = (type, model, point, x, y, r, more = "") =>
  shape("circle", {
    class: type, style: colour(model), cx: x, cy: y, r, "data-image": point.image,
    "data-tip": `${dataset().images[point.image]}\n${dataset().models[model]}: ${printed(point.value)}${more}`,
  });

const plot = (width, height, title) =>
  shape("svg", { viewBox: `0 0 ${width} ${height}`, height, role: "img" }, shape("title", {}, title));

// --- box plots ---

function boxPlot(width, metric) {
  const { models } = dataset();
  const height = models.length * ROW + 24;
  const svg = plot(width, height, `${data.metrics[metric].name} of each model over pictures`);
  const points = models.map((_, m) => scored(m, metric).sort((p, q) => p.value - q.value));
  const values = points.flat().map((p) => p.value);
  if (!values.length) return svg;

  const left = Math.min(Math.max(...models.map((name) => name.length)) * LETTER + 16, width * 0.45);
  const [low, high] = extent(values);
  const x = (value) => left + ((value - low) / (high - low)) * (width - left - 6);
  for (const t of ticks(low, high, 4)) {
    svg.append(shape("line", { class: "grid", x1: x(t), x2: x(t), y1: 0, y2: height - 20 }));
    svg.append(shape("text", { x: x(t), y: height - 6, "text-anchor": "middle" }, short(t)));
  }
  models.forEach((name, m) => {
    const y = m * ROW + ROW / 2;
    const label = clipped(name, Math.floor((left - 10) / LETTER));
    svg.append(shape("text", { class: "name", x: 0, y: y + 4 }, label, shape("title", {}, name)));
    if (points[m].length) svg.append(box(m, points[m], x, y));
  });
  return svg;
}

function box(m, points, x, y) {
  const sorted = points.map((p) => p.value);
  const [q1, q2, q3] = [0.25, 0.5, 0.75].map((q) => quantile(sorted, q));
  const reach = 1.5 * (q3 - q1);
  const inside = sorted.filter((value) => value >= q1 - reach && value <= q3 + reach);
  const [first, last] = [inside[0], inside[inside.length - 1]];
  const tip = [
    `${dataset().models[m]}: median ${printed(q2)}`,
    `quartiles ${printed(q1)} and ${printed(q3)}, ${points.length} pictures`,
  ].join("\n");
  const far = points.filter((p) => p.value < first || p.value > last);
  return shape(
    "g",
    { style: colour(m) },
    shape("path", { class: "whisker", d: `M${x(first)} ${y}H${x(q1)}M${x(q3)} ${y}H${x(last)}` }),
    shape("rect", { class: "box", x: x(q1), y: y - 6, width: Math.max(x(q3) - x(q1), 1), height: 12, "data-tip": tip }),
    shape("path", { class: "median", d: `M${x(q2)} ${y - 6}v12` }),
    ...far.map((p) => dot("far", m, p, x(p.value), y, 3)),
    mark(new Map(points.map((p) => [p.image, [x(p.value), y]]))),
  );
}

// --- scatter ---

function scatter(width, metric) {
  const set = dataset();
  const height = clamp(width * 0.5, 240, 420);
  const svg = plot(width, height, `${data.metrics[metric].name} against time per picture`);
  const points = set.models.map((_, m) =>
    scored(m, metric).map((p) => ({ ...p, seconds: set.seconds[m][p.image] })).filter((p) => p.seconds > 0),
  );
  const centres = set.models
    .map((name, m) => ({ name, m, seconds: set.typical[m], value: mean(scored(m, metric).map((p) => p.value)) }))
    .filter((p) => p.seconds > 0 && Number.isFinite(p.value));
  const all = [...points.flat(), ...centres];
  if (!all.length) return svg;

  const [left, bottom] = [46, height - 30];
  const [x0, x1] = extent(all.map((p) => Math.log10(p.seconds)), 0.08);
  const [y0, y1] = extent(all.map((p) => p.value), 0.06);
  const x = (p) => left + ((Math.log10(p.seconds) - x0) / (x1 - x0)) * (width - left);
  const y = (p) => bottom - ((p.value - y0) / (y1 - y0)) * (bottom - 8);
  axes(svg, width, left, bottom, ticks(y0, y1, 5), logTicks(10 ** x0, 10 ** x1, width / 90), x, y);

  const cloud = (list, m) => list.map((p) => dot("dot", m, p, x(p), y(p), 3.5, `\n${duration(p.seconds)}`));
  svg.append(shape("g", { class: "dots" }, ...points.flatMap(cloud)));
  svg.append(...named(centres.map((p) => ({ ...p, x: x(p), y: y(p) })), width));
  svg.append(...points.map((list) => mark(new Map(list.map((p) => [p.image, [x(p), y(p)]])))));
  return svg;
}

function axes(svg, width, left, bottom, values, times, x, y) {
  for (const value of values) {
    const at = y({ value });
    svg.append(shape("line", { class: "grid", x1: left, x2: width, y1: at, y2: at }));
    svg.append(shape("text", { x: left - 8, y: at + 4, "text-anchor": "end" }, short(value)));
  }
  svg.append(shape("line", { class: "axis", x1: left, x2: width, y1: bottom, y2: bottom }));
  for (const seconds of times) {
    const at = x({ seconds });
    svg.append(shape("path", { class: "axis", d: `M${at} ${bottom}v5` }));
    svg.append(shape("text", { x: at, y: bottom + 18, "text-anchor": "middle" }, duration(seconds)));
  }
}

// Each model's median time and mean score, with its name; names that would overlap move apart.
function named(centres, width) {
  const written = []; // [left, right, y]
  return centres.sort((p, q) => p.y - q.y).flatMap((p) => {
    const length = p.name.length * LETTER;
    const x = p.x + length + 14 > width ? p.x - 12 - length : p.x + 12;
    const over = written.filter(([from, to]) => from < x + length && x < to);
    const y = Math.max(p.y, ...over.map(([, , other]) => other + 15));
    written.push([x, x + length, y]);
    const side = x < p.x ? { x: p.x - 12, "text-anchor": "end" } : { x };
    return [
      shape("circle", { class: "mean", style: colour(p.m), cx: p.x, cy: p.y, r: 7 }),
      shape("text", { class: "name", y: y + 4, ...side }, p.name),
    ];
  });
}

// --- the open mark: where the pair that is shown above stands ---

const marks = new Map(); // mark -> image -> [x, y]

function mark(places) {
  const drawn = shape("path", { class: "here", d: "M0 -4.5L4.5 0L0 4.5L-4.5 0Z" });
  marks.set(drawn, places);
  return drawn;
}

function moveMarks() {
  for (const [drawn, places] of marks) {
    const at = places.get(state.image);
    drawn.style.display = at ? "" : "none";
    if (at) drawn.setAttribute("transform", `translate(${at.join(" ")})`);
  }
}
on("image", moveMarks);

// --- drawing ---

const titled = (metric) => element("h3", {}, `${metric.name} `, element("i", {}, ARROWS[metric.better]));

function draw() {
  marks.clear();
  const [boxes, times] = [$("#boxes .charts"), $("#times .charts")];
  boxes.replaceChildren(...data.metrics.map((metric) => element("div", {}, titled(metric))));
  const width = boxes.firstChild?.clientWidth;
  [...boxes.children].forEach((cell, metric) => cell.append(boxPlot(width, metric)));
  times.replaceChildren(scatter(times.clientWidth, Number($("#quality").value)));
  moveMarks();
}

// They stand below the first screen, so they can wait for a quiet moment.
const whenIdle = window.requestIdleCallback ?? setTimeout;
on("dataset", () => whenIdle(draw));

let drawnFor = innerWidth;
addEventListener("resize", () => {
  if (innerWidth !== drawnFor) whenIdle(draw); // a telephone also changes its height, when its bars go
  drawnFor = innerWidth;
});

choices($("#quality"), data.metrics.map((metric) => `${metric.name} ${ARROWS[metric.better]}`));
$("#quality").onchange = draw;

function open(image) {
  change({ image });
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  $("#browser").scrollIntoView({ behavior: still ? "auto" : "smooth" });
}
for (const id of ["#boxes", "#times"])
  $(id).addEventListener("click", (event) => event.target.dataset.image && open(Number(event.target.dataset.image)));
