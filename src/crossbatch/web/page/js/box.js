// The box on the query: drawn, moved and resized by pointer or keys; shares of the picture from 0 to 1.
import { byId, element } from "./element.js";

const LEAST = 0.04; // of a side; a smaller box is a slip of the hand
const STEP = 0.02;
const KEYS_MS = 600; // after the last key, the part is searched
const FIRST = [0.2, 0.2, 0.8, 0.8];
const ARROWS = { ArrowLeft: [-STEP, 0], ArrowRight: [STEP, 0], ArrowUp: [0, -STEP], ArrowDown: [0, STEP] };

const within = (value, least, most) => Math.max(least, Math.min(most, value));

export class Box {
  // `settled(box)` once a person has drawn, changed or removed (null) it.
  constructor(settled) {
    Object.assign(this, { settled, box: null });
    this.frame = byId("frame");
    this.area = element("button", { type: "button", class: "area", hidden: true }, ...["nw", "ne", "sw", "se"].map((corner) => element("i", { class: corner })));
    this.frame.append(this.area);
    this.frame.addEventListener("pointerdown", (event) => this.press(event));
    this.area.addEventListener("keydown", (event) => this.key(event));
    this.area.addEventListener("click", (event) => { if (event.detail === 0) this.settle(); }); // Enter, Space
  }

  show(box) {
    clearTimeout(this.timer);
    this.box = box;
    this.area.hidden = !box;
    this.frame.classList.toggle("boxing", Boolean(box));
    if (!box) return;
    const [left, top, right, bottom] = box;
    const percent = (share) => `${(100 * share).toFixed(2)}%`;
    Object.assign(this.area.style, { left: percent(left), top: percent(top), width: percent(right - left), height: percent(bottom - top) });
    const words = `from ${Math.round(100 * left)}% to ${Math.round(100 * right)}% across and ${Math.round(100 * top)}% to ${Math.round(100 * bottom)}% down`;
    this.area.setAttribute("aria-label", `Part of the picture, ${words}. Arrow keys move it, with Shift they resize it, Enter searches, Delete removes it.`);
  }

  // A box in the middle, to be moved: the way of keys and of fingers.
  start() {
    if (!this.box) { this.show(FIRST); this.settle(); }
    this.area.focus();
  }

  settle() {
    clearTimeout(this.timer);
    this.settled(this.box);
  }

  at(event) {
    const { left, top, width, height } = this.frame.getBoundingClientRect();
    return [within((event.clientX - left) / width, 0, 1), within((event.clientY - top) / height, 0, 1)];
  }

  press(event) {
    if (event.button) return;
    const onArea = event.target.closest(".area");
    if (event.pointerType === "touch" && !this.frame.classList.contains("boxing")) return; // a finger scrolls
    const before = this.box;
    const start = this.at(event);
    const drag = onArea ? this.dragOf(event.target, start) : (now) => ordered(start, now);
    this.frame.setPointerCapture(event.pointerId);
    const move = (moved) => this.show(drag(this.at(moved)));
    const undo = (key) => {
      if (key.key !== "Escape") return;
      key.stopPropagation();
      key.preventDefault();
      this.show(before);
      this.frame.releasePointerCapture(event.pointerId);
    };
    const end = () => {
      this.frame.removeEventListener("pointermove", move);
      removeEventListener("keydown", undo, { capture: true });
      const small = this.box && (this.box[2] - this.box[0] < LEAST || this.box[3] - this.box[1] < LEAST);
      if (small) this.show(before);
      if (String(this.box) !== String(before)) this.settle();
    };
    this.frame.addEventListener("pointermove", move);
    addEventListener("keydown", undo, { capture: true });
    this.frame.addEventListener("lostpointercapture", end, { once: true });
    if (!onArea) event.preventDefault();
  }

  // What a move of the pointer makes of the box: by a corner the opposite one stays, else all of it moves.
  dragOf(target, start) {
    const [left, top, right, bottom] = this.box;
    const corner = target.closest("i")?.className;
    if (corner) return (now) => ordered([corner.endsWith("w") ? right : left, corner.startsWith("n") ? bottom : top], now);
    return (now) => moved([left, top, right, bottom], now[0] - start[0], now[1] - start[1]);
  }

  key(event) {
    const step = ARROWS[event.key];
    if (event.key === "Delete" || event.key === "Backspace" || event.key === "Escape") {
      this.show(null);
      this.settle();
      byId("part").focus();
    } else if (step) {
      const [left, top, right, bottom] = this.box;
      this.show(event.shiftKey
        ? [left, top, within(right + step[0], left + LEAST, 1), within(bottom + step[1], top + LEAST, 1)]
        : moved(this.box, ...step));
      clearTimeout(this.timer);
      this.timer = setTimeout(() => this.settle(), KEYS_MS);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}

const ordered = ([a, b], [c, d]) => [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)];

function moved([left, top, right, bottom], across, down) {
  const x = within(across, -left, 1 - right);
  const y = within(down, -top, 1 - bottom);
  return [left + x, top + y, right + x, bottom + y];
}
