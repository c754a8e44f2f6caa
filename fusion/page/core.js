// What the other programs of this page share: the numbers, the state, and the making of elements.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const $ = (selector, root = document) => root.querySelector(selector);
const $$ = (selector, root = document) => [...root.querySelectorAll(selector)];
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
const ARROWS = { 1: "↑", 0: "", "-1": "↓" };

// --- elements: text goes in as text, never as markup ---

const fill = (node, properties, children) => {
  for (const [name, value] of Object.entries(properties)) node.setAttribute(name, value);
  node.append(...children);
  return node;
};
const element = (tag, properties = {}, ...children) => fill(document.createElement(tag), properties, children);
const shape = (tag, properties = {}, ...children) =>
  fill(document.createElementNS("http://www.w3.org/2000/svg", tag), properties, children);
const choices = (select, names) =>
  select.replaceChildren(...names.map((name, i) => element("option", { value: i }, name)));

// --- state: `change` changes it, and runs what was announced with `on` for one of the changed names ---

const state = {
  dataset: -1, // of data.datasets
  image: 0, // of its images
  a: 0, b: 0, // panels on the stage
  mode: "split", // or "difference"
  gain: 2,
  metric: -1, // of data.metrics; -1: the strip is sorted by name
  model: 0, // whose scores sort the strip
  order: "worst", // first
};
const listeners = [];
const on = (names, run) => listeners.push({ names: names.split(" "), run });

function change(changes) {
  const changed = Object.keys(changes).filter((name) => state[name] !== changes[name]);
  Object.assign(state, changes);
  for (const { names, run } of listeners) if (names.some((name) => changed.includes(name))) run();
}

// --- the current data set ---

const dataset = () => data.datasets[state.dataset];
const picturePath = (...parts) => parts.join("/").split("/").map(encodeURIComponent).join("/");
const colour = (model) => `--c: var(--m${model % 8})`;

// The panels of a data set: infrared and visible, then every model. `path(image)` is null where there is no picture.
function panelsOf(set) {
  const source = (kind, k) => ({
    label: set.labels[k],
    cell: k, // its place in thumbnails and values
    path: (i) => {
      const file = set.sources[i]?.[k];
      return file ? picturePath("index_files", set.name, kind, file) : null;
    },
  });
  const model = (label, m) => ({
    label,
    model: m,
    cell: m + 2,
    path: (i) => (set.scores[m][i] ? picturePath(set.name, label, `${set.images[i]}.png`) : null),
  });
  const sources = set.sources.some((files) => files) ? [source("ir", 0), source("vis", 1)] : [];
  return [...sources, ...set.models.map(model)];
}

const score = (model, metric, image) => dataset().scores[model]?.[image]?.[metric] ?? null;
const printed = (value) => (value === null ? "-" : Math.abs(value) >= 1000 ? value.toFixed(0) : value.toPrecision(3));

// --- one tooltip for everything that carries data-tip ---

{
  const tip = $("#tip");
  const show = (target) => {
    tip.textContent = target.dataset.tip;
    tip.hidden = false;
    const at = target.getBoundingClientRect();
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${clamp(at.left + at.width / 2 - width / 2, 6, innerWidth - width - 6)}px`;
    tip.style.top = `${at.top - height - 6 < 4 ? at.bottom + 6 : at.top - height - 6}px`;
  };
  const follow = (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target) show(target);
    else tip.hidden = true;
  };
  document.addEventListener("pointerover", follow);
  document.addEventListener("focusin", follow);
  document.addEventListener("scroll", () => (tip.hidden = true), { passive: true, capture: true });
}
