// Pointers, wheel and keys over the map: pan, zoom, point, choose.

const SLIP_PX = 5; // a press that moves less is a click
const KEY_PX = 60;
const KEYS = { ArrowLeft: [1, 0], ArrowRight: [-1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] };

// `point(x, y)` under the pointer, or with nothing where it has left; `choose(x, y)` on a click.
export function gestures(canvas, view, { point, choose, chooseMiddle, moved }) {
  const down = new Map();
  let travelled = 0;
  const at = (event) => [event.offsetX, event.offsetY];

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button) return;
    canvas.setPointerCapture(event.pointerId);
    down.set(event.pointerId, at(event));
    if (down.size === 1) travelled = 0;
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = down.get(event.pointerId);
    if (!before) { point(...at(event)); return; }
    const [x, y] = at(event);
    travelled += Math.hypot(x - before[0], y - before[1]);
    if (travelled > SLIP_PX) {
      canvas.classList.add("dragging");
      point();
      if (down.size === 2) pinch(view, before, [x, y], [...down].find(([id]) => id !== event.pointerId)[1]);
      else view.pan(x - before[0], y - before[1]);
    }
    down.set(event.pointerId, [x, y]);
  });
  const up = (event) => {
    if (!down.delete(event.pointerId)) return;
    if (down.size === 0) canvas.classList.remove("dragging");
    if (event.type === "pointerup" && travelled <= SLIP_PX && down.size === 0) choose(...at(event));
  };
  canvas.addEventListener("pointerup", up);
  canvas.addEventListener("pointercancel", up);
  canvas.addEventListener("pointerleave", () => point());
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 20 : 1;
    view.zoom(Math.exp(-event.deltaY * lines * (event.ctrlKey ? 0.01 : 0.0022)), ...at(event));
    point(...at(event));
  }, { passive: false });
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in KEYS) view.pan(...KEYS[event.key].map((way) => way * KEY_PX));
    else if (event.key === "+" || event.key === "=") view.zoom(1.4);
    else if (event.key === "-") view.zoom(1 / 1.4);
    else if (event.key === "0") view.fit();
    else if (event.key === "Enter") chooseMiddle();
    else return;
    event.preventDefault();
    moved();
  });
}

// Two fingers: the map follows the one that moves, and grows as they part.
function pinch(view, before, now, other) {
  const apart = (a, b) => Math.max(10, Math.hypot(a[0] - b[0], a[1] - b[1]));
  const middle = [(now[0] + other[0]) / 2, (now[1] + other[1]) / 2];
  view.zoom(apart(now, other) / apart(before, other), ...middle);
  view.pan((now[0] - before[0]) / 2, (now[1] - before[1]) / 2);
}
