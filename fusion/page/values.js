// The luminance under the cursor, in all panels at once. The levels come from index_files/DATASET/values/IMAGE.js,
// one script per pair, fetched when the cursor first enters it; see pictures.py for why it is a script.

let levels = { key: "", planes: [] }; // of one pair: per panel {width, height, level: Uint8Array}, or null
let cursor = null; // [x, y], fractions of a view
const keyOf = (name, image) => JSON.stringify([name, image]);

function fetchLevels() {
  const set = dataset();
  const image = set.images[state.image];
  const key = keyOf(set.name, image);
  if (levels.key === key || image === undefined) return;
  levels = { key, planes: [] };
  const script = element("script", { src: picturePath("index_files", set.name, "values", `${image}.js`) });
  script.onload = script.remove;
  script.onerror = () => (levels.missing = true);
  document.head.append(script);
}

// Called by the script that arrives.
async function luminance(name, image, pngs) {
  const planes = await Promise.all(pngs.map((png) => (png ? decode(png) : null)));
  if (levels.key !== keyOf(name, image)) return; // the reader has gone on
  levels.planes = planes;
  showLevels();
}

async function decode(png) {
  const picture = new Image();
  picture.src = `data:image/png;base64,${png}`;
  await picture.decode();
  const { naturalWidth: width, naturalHeight: height } = picture;
  const context = element("canvas", { width, height }).getContext("2d", { willReadFrequently: true });
  context.drawImage(picture, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  return { width, height, level: Uint8Array.from({ length: width * height }, (_, i) => rgba[4 * i]) };
}

function hover(place) {
  cursor = place;
  views.style.setProperty("--cx", place[0]);
  views.style.setProperty("--cy", place[1]);
  fetchLevels();
  showLevels();
}

function leave() {
  cursor = null;
  views.style.setProperty("--cx", -1);
  showLevels();
}

// [column, row] of the pixel under the cursor in a picture of that size, or null beside it.
function pixel([width, height]) {
  if (!cursor) return null;
  const [u, v] = [(cursor[0] - view.x) / view.zoom, (cursor[1] - view.y) / view.zoom];
  return u >= 0 && u < 1 && v >= 0 && v < 1 ? [Math.floor(u * width), Math.floor(v * height)] : null;
}

function levelOf(panel) {
  const plane = levels.planes[panel.cell];
  const at = plane && pixel([plane.width, plane.height]);
  return at ? plane.level[at[1] * plane.width + at[0]] : null;
}

function showLevels() {
  const at = pixel(sizeOf(state.image));
  const known = panels.map((panel) => (at ? levelOf(panel) : null));
  $$("#panels .level").forEach((label, p) => (label.textContent = known[p] ?? ""));
  const readout = $("#readout");
  if (!at) return readout.replaceChildren("luminance under the cursor, 0 to 255");
  if (levels.missing) return readout.replaceChildren("no values: index_files/ is not beside this page");
  const [a, b] = [known[state.a], known[state.b]];
  const sign = a < b ? "−" : a > b ? "+" : "";
  const difference = a === null || b === null ? "" : `${sign}${Math.abs(a - b)}`;
  const item = (name, value) => element("span", {}, `${name} `, element("b", {}, String(value ?? "")));
  readout.replaceChildren(item("x", at[0]), item("y", at[1]), item("A", a), item("B", b), item("A − B", difference));
}

on("image dataset a b", () => {
  if (cursor) fetchLevels();
  showLevels();
});
