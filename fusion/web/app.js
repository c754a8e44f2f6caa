// What a person sees and does: two pictures in, the fused one out, compared by a line that moves.
"use strict";

const $ = (selector) => document.querySelector(selector);
const chosen = { ir: null, vis: null };
let against = "vis";
let latest = 0; // of the pairs asked for; an older one that ends late is not shown

function say(text, wrong = false) {
  $("#message").textContent = text;
  $("#message").classList.toggle("wrong", wrong);
}

// Any problem -> one line.
function tell(problem) {
  const told = problem instanceof Refused;
  if (!told) console.error(problem);
  say(told ? problem.message : `It did not work: ${String(problem?.message ?? problem).split("\n")[0]}`, true);
}

async function choose(kind, file) {
  try {
    chosen[kind] = await readPicture(file);
    show(kind);
    await update();
  } catch (problem) {
    tell(problem);
  }
}

function show(kind) {
  const picture = chosen[kind];
  const box = $(`#${kind}`), canvas = box.querySelector("canvas");
  canvas.hidden = !picture;
  box.querySelector(".hint").textContent = picture ? `${picture.name}, ${picture.width}x${picture.height}` : "drop a picture, or choose one";
  if (picture) draw(canvas, new ImageData(picture.data, picture.width, picture.height));
}

function draw(canvas, pixels) {
  Object.assign(canvas, { width: pixels.width, height: pixels.height });
  canvas.getContext("2d").putImageData(pixels, 0, 0);
}

async function update() {
  const { ir, vis } = chosen;
  const mine = ++latest;
  $("#result").hidden = true;
  if (!ir || !vis) return say(ir ? "Now the visible picture." : vis ? "Now the infrared picture." : "");
  if (ir.width !== vis.width || ir.height !== vis.height) {
    throw new Refused(`The infrared picture is ${ir.width}x${ir.height}, the visible one ${vis.width}x${vis.height}: ` +
      "bring them to one size and view first (scripts/fuse.py --align)");
  }
  say("Fusing …");
  await session;
  await new Promise((drawn) => setTimeout(drawn, 20)); // lets the browser show the line above
  const begin = performance.now();
  const fused = await fuse(ir, vis);
  if (mine !== latest) return;
  const seconds = (performance.now() - begin) / 1000;
  draw($("#fused"), fused);
  compare();
  $("#result").hidden = false;
  const notes = [ir.note, vis.note, sameAs(ir, vis)].filter(Boolean).map((note) => ` Note: ${note}.`);
  say(`Fused in ${seconds.toFixed(2)} s.${notes.join("")}`);
  await offer();
}

function sameAs(ir, vis) {
  return ir.data.every((value, i) => value === vis.data[i]) ? "both pictures are the same" : "";
}

function compare() {
  const picture = chosen[against];
  draw($("#other"), new ImageData(picture.data, picture.width, picture.height));
  for (const button of document.querySelectorAll("#against button")) {
    button.setAttribute("aria-pressed", button.value === against);
  }
}

async function offer() {
  const link = $("#download");
  const png = await new Promise((made) => $("#fused").toBlob(made, "image/png"));
  URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(png);
  link.download = `${chosen.vis.name.replace(/\.[^.]*$/, "")}_fused.png`;
}

function sample(name) {
  const [ir, vis] = SAMPLES[name].map((text, i) =>
    new File([Uint8Array.from(atob(text), (c) => c.charCodeAt(0))], `${name}_${["ir", "vis"][i]}.png`, { type: "image/png" }));
  chosen.ir = chosen.vis = null;
  return choose("ir", ir).then(() => choose("vis", vis));
}

for (const kind of ["ir", "vis"]) {
  const box = $(`#${kind}`), input = box.querySelector("input");
  input.onchange = () => input.files[0] && choose(kind, input.files[0]);
  box.ondragover = (event) => { event.preventDefault(); box.classList.add("over"); };
  box.ondragleave = () => box.classList.remove("over");
  box.ondrop = (event) => {
    event.preventDefault();
    box.classList.remove("over");
    if (event.dataTransfer.files[0]) choose(kind, event.dataTransfer.files[0]);
  };
}
$("#swap").onclick = () => {
  [chosen.ir, chosen.vis] = [chosen.vis, chosen.ir];
  show("ir");
  show("vis");
  update().catch(tell);
};
$("#split").oninput = (event) => $("#stage").style.setProperty("--split", `${event.target.value / 10}%`);
$("#against").onclick = (event) => { against = event.target.value || against; compare(); };
for (const name of Object.keys(SAMPLES)) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: name.replaceAll("_", " ") });
  button.onclick = () => sample(name);
  $("#samples").append(button);
}

session = loadNetwork();
session.then(({ provider }) => {
  $("#where").textContent = { wasm: "WebAssembly", webgpu: "WebGPU" }[provider];
  if (!chosen.ir && !chosen.vis) say("Ready: choose two pictures of the same scene.");
}, tell);
