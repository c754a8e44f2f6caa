// Tabs, keys, light and dark, the address; then the first pair.

const settings = { // a page from disk may have no storage
  read: (name) => { try { return localStorage.getItem(name); } catch { return null; } },
  write: (name, value) => { try { localStorage.setItem(name, value); } catch { /* then it is not kept */ } },
};

// --- data sets ---

function openDataset(index, image = 0) {
  const labels = panels.map((panel) => panel.label);
  const [a, b] = [labels[state.a], labels[state.b]]; // keep looking at the same methods
  const next = panelsOf(data.datasets[index]).map((panel) => panel.label);
  const kept = (label, fallback) => (next.includes(label) ? next.indexOf(label) : Math.min(fallback, next.length - 1));
  change({ dataset: index, image, a: kept(a, 1), b: kept(b, 2), model: 0 });
}

const tabs = data.datasets.map((set, i) => {
  const button = element("button", {}, set.name);
  button.onclick = () => openDataset(i);
  return button;
});
$("#tabs").append(...tabs);
$("#tabs").hidden = tabs.length < 2;
on("dataset", () => tabs.forEach((tab, i) => tab.setAttribute("aria-pressed", i === state.dataset)));

// --- light and dark ---

const THEMES = { auto: "◐ Auto", light: "○ Light", dark: "● Dark" };
function setTheme(name) {
  document.documentElement.dataset.theme = name;
  $("#theme").textContent = THEMES[name];
  settings.write("theme", name);
}
$("#theme").onclick = () => {
  const names = Object.keys(THEMES);
  setTheme(names[(names.indexOf(document.documentElement.dataset.theme) + 1) % names.length]);
};

// --- keys ---

const KEYS = {
  ArrowLeft: () => step(-1),
  ArrowRight: () => step(1),
  "+": () => zoomBy(1.5),
  "=": () => zoomBy(1.5),
  "-": () => zoomBy(1 / 1.5),
  0: fit,
  d: () => change({ mode: state.mode === "split" ? "difference" : "split" }),
  x: () => change({ a: state.b, b: state.a }),
};
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("select, input")) return;
  const digit = /^Digit([1-9])$/.exec(event.code)?.[1];
  if (digit && panels[digit - 1]) change({ [event.shiftKey ? "a" : "b"]: digit - 1 });
  else if (KEYS[event.key]) KEYS[event.key]();
  else return;
  event.preventDefault();
});

// --- the address: #data set/pair, so that a link or a reload shows the same ---

on("dataset image", () => {
  const address = `#${picturePath(dataset().name, dataset().images[state.image] ?? "")}`;
  try { history.replaceState(null, "", address); } catch { /* not from everywhere */ }
});
function decoded(part) {
  try { return decodeURIComponent(part); } catch { return ""; }
}
function fromAddress() {
  const [name, ...parts] = location.hash.slice(1).split("/").map(decoded);
  const image = parts.join("/");
  const index = Math.max(data.datasets.findIndex((set) => set.name === name), 0);
  return [index, Math.max(data.datasets[index].images.indexOf(image), 0)];
}
addEventListener("hashchange", () => openDataset(...fromAddress()));

document.documentElement.classList.add("live");
setTheme(THEMES[settings.read("theme")] ? settings.read("theme") : "auto");
listeners.forEach(({ names, run }) => names.includes("mode") || names.includes("gain") ? run() : null);
if (data.datasets.length) openDataset(...fromAddress());
