// One viewport for all views, and the split of the stage. Places are fractions of a view, which all have one shape:
// a point u of the picture (0 to 1) is shown at x + zoom * u. Style does the rest through variables of #views.

const views = $("#views");
const stage = $("#stage");
const view = { zoom: 1, x: 0, y: 0 };

function place(zoom, x, y) {
  const [width] = sizeOf(state.image);
  view.zoom = clamp(zoom, 1, Math.max(8, width / 8)); // down to eight pixels across
  view.x = clamp(x, 1 - view.zoom, 0);
  view.y = clamp(y, 1 - view.zoom, 0);
  for (const name of ["zoom", "x", "y"]) views.style.setProperty(`--${name}`, view[name]);
  views.classList.toggle("zoomed", view.zoom > 1);
  views.classList.toggle("pixels", (view.zoom * stage.clientWidth) / width >= 3); // now one wants to see them
  $("#fit").textContent = `${+view.zoom.toPrecision(2)}×`;
}

const sizeOf = (image) => dataset()?.sizes[image] ?? [4, 3];
const zoomBy = (factor, [px, py] = [0.5, 0.5]) => {
  const zoom = clamp(view.zoom * factor, 1, Math.max(8, sizeOf(state.image)[0] / 8));
  const grown = zoom / view.zoom;
  place(zoom, px - (px - view.x) * grown, py - (py - view.y) * grown);
};
const fit = () => place(1, 0, 0);

on("dataset image", () => {
  const [width, height] = sizeOf(state.image);
  views.style.setProperty("--aspect", width / height);
  place(view.zoom, view.x, view.y); // the place stays: one goes through a series looking at one corner
});

$("#in").onclick = () => zoomBy(1.5);
$("#out").onclick = () => zoomBy(1 / 1.5);
$("#fit").onclick = fit;

// --- the split ---

const split = $("#split");
let splitAt = 0.5;

function moveSplit(fraction) {
  splitAt = clamp(fraction, 0, 1);
  views.style.setProperty("--split", `${splitAt * 100}%`);
  split.setAttribute("aria-valuenow", Math.round(splitAt * 100));
}
moveSplit(0.5);

split.addEventListener("keydown", (event) => {
  const step = { ArrowLeft: -0.02, ArrowRight: 0.02, Home: -1, End: 1 }[event.key];
  if (step === undefined) return;
  moveSplit(splitAt + step);
  event.preventDefault();
  event.stopPropagation(); // elsewhere arrows change the pair
});

// --- hands: drag pans where there is something to pan, else moves the split; two fingers and Ctrl + wheel zoom ---

{
  const held = new Map(); // pointer -> its last place in its view
  let holdsSplit = false;

  const frameOf = (event) => event.target.closest?.(".view");
  const at = (frame, event) => {
    const box = frame.getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const spread = () => {
    const [[ax, ay], [bx, by]] = [...held.values()];
    return { size: Math.hypot(ax - bx, ay - by), middle: [(ax + bx) / 2, (ay + by) / 2] };
  };

  views.addEventListener("pointerdown", (event) => {
    const frame = frameOf(event);
    if (!frame || event.button || event.target.closest("select, button")) return;
    frame.setPointerCapture(event.pointerId);
    held.set(event.pointerId, at(frame, event));
    const onStage = frame === stage && state.mode === "split";
    holdsSplit = onStage && held.size === 1 && (event.target === split || view.zoom === 1);
    if (holdsSplit) moveSplit(at(frame, event)[0]);
    hover(at(frame, event));
  });

  views.addEventListener("pointermove", (event) => {
    const frame = frameOf(event);
    if (!frame) return leave();
    const now = at(frame, event);
    hover(now);
    if (!held.has(event.pointerId)) return;
    const [x, y] = held.get(event.pointerId);
    if (held.size === 2) {
      const before = spread();
      held.set(event.pointerId, now);
      const after = spread();
      zoomBy(after.size / before.size, after.middle);
    } else {
      held.set(event.pointerId, now);
      if (holdsSplit) moveSplit(now[0]);
      else place(view.zoom, view.x + now[0] - x, view.y + now[1] - y);
    }
  });

  for (const end of ["pointerup", "pointercancel"])
    views.addEventListener(end, (event) => {
      held.delete(event.pointerId);
      holdsSplit = false;
    });
  views.addEventListener("pointerleave", () => leave());

  views.addEventListener("dblclick", (event) => {
    const frame = frameOf(event);
    if (frame && !event.target.closest("select, button")) zoomBy(event.shiftKey ? 0.5 : 2, at(frame, event));
  });

  // A plain wheel keeps scrolling the page; browsers report a pinch on a touchpad as Ctrl + wheel.
  views.addEventListener(
    "wheel",
    (event) => {
      const frame = frameOf(event);
      if (!frame || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      const lines = event.deltaMode === 1 ? 16 : 1;
      zoomBy(Math.exp(-clamp(event.deltaY * lines, -60, 60) / 150), at(frame, event));
    },
    { passive: false },
  );
}
