// The grid: only the rows on the screen and a few beside it exist, however many pictures there are.
import { element } from "./element.js";
import { tile } from "./tile.js";

const CAPTION_PX = 34;
const SPARE_ROWS = 2;
const PRINTED = 200;
const TALLEST_PX = 15e6; // browsers lose exactness, then rows, beyond
const STEPS = { ArrowLeft: () => -1, ArrowRight: () => 1, ArrowUp: (columns) => -columns, ArrowDown: (columns) => columns, PageUp: (columns) => -4 * columns, PageDown: (columns) => 4 * columns };

export class Grid {
  constructor(list, open) {
    Object.assign(this, { list, open, rows: null, place: null, active: 0, made: new Map() });
    this.soon = () => { this.asked ??= requestAnimationFrame(() => { this.asked = null; this.draw(); }); };
    addEventListener("scroll", this.soon, { passive: true });
    new ResizeObserver(this.soon).observe(list);
    addEventListener("beforeprint", () => { this.printed = true; if (this.rows) this.fill(0, Math.min(this.rows.count, PRINTED)); });
    addEventListener("afterprint", () => { this.printed = false; this.draw(); });
    list.addEventListener("click", (event) => this.click(event));
    list.addEventListener("keydown", (event) => this.key(event));
    list.addEventListener("focusin", (event) => { this.active = this.indexOf(event.target) ?? this.active; });
  }

  show(rows, place) {
    this.made.clear();
    this.list.replaceChildren();
    Object.assign(this, { rows, place, active: 0 });
    rows.changed = this.soon;
    this.draw();
  }

  measure() {
    const style = getComputedStyle(this.list);
    const gap = parseFloat(style.columnGap) || 0;
    const width = this.list.clientWidth;
    const least = width < 500 ? 100 : width < 900 ? 136 : 158;
    const columns = Math.max(2, Math.floor((width + gap) / (least + gap)));
    const row = (width - gap * (columns - 1)) / columns + CAPTION_PX;
    const rows = Math.min(Math.ceil((this.rows?.count ?? 0) / columns), Math.floor(TALLEST_PX / (row + gap)));
    return { columns, row, pitch: row + gap, rows };
  }

  draw() {
    if (!this.rows || !this.list.clientWidth || this.printed) return;
    const { columns, row, pitch, rows } = this.measure();
    const above = -this.list.getBoundingClientRect().top;
    const within = (value) => Math.max(0, Math.min(rows, value));
    const first = within(Math.floor(above / pitch) - SPARE_ROWS);
    const last = within(Math.ceil((above + innerHeight) / pitch) + SPARE_ROWS);
    this.columns = columns;
    this.list.style.setProperty("--columns", columns);
    this.list.style.setProperty("--row", `${row}px`);
    this.list.style.paddingTop = `${first * pitch}px`;
    this.list.style.paddingBottom = `${(rows - last) * pitch}px`;
    this.fill(first * columns, Math.min(last * columns, this.rows.count));
  }

  // Elements that stay are not touched, so that focus and half-loaded pictures stay too.
  fill(from, to) {
    for (const [index, made] of this.made) {
      if (index < from || index >= to || made.image !== this.rows.at(index)) { made.item.remove(); this.made.delete(index); }
    }
    let next = this.list.firstChild;
    for (let index = from; index < to; index += 1) {
      const made = this.made.get(index);
      if (made) next = made.item.nextSibling;
      else this.list.insertBefore(this.make(index), next);
    }
    this.mark();
    this.rows.need(from, to);
  }

  make(index) {
    const image = this.rows.at(index);
    const item = element("li", { "aria-setsize": this.rows.count, "aria-posinset": index + 1 }, tile(image, this.place, this.rows.digits));
    this.made.set(index, { item, image });
    return item;
  }

  // One tile is in the tab order: the one last visited, or the first that is there.
  mark() {
    const present = this.made.has(this.active) ? this.active : Math.min(...this.made.keys());
    for (const [index, { item }] of this.made) item.firstChild.tabIndex = index === present ? 0 : -1;
  }

  indexOf(target) {
    for (const [index, { item }] of this.made) if (item.contains(target)) return index;
    return null;
  }

  click(event) {
    const link = event.target.closest("a");
    if (!link || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
    event.preventDefault();
    this.open(this.made.get(this.indexOf(link)).image, link);
  }

  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const at = this.indexOf(event.target);
    const last = this.rows.count - 1;
    const to = event.key === "Home" ? 0 : event.key === "End" ? last : at + (STEPS[event.key]?.(this.columns) ?? NaN);
    if (at === null || Number.isNaN(to)) return;
    event.preventDefault();
    if (to >= 0 && to <= last) this.focus(to);
    else if (event.key.startsWith("Page")) this.focus(to < 0 ? 0 : last);
  }

  focus(index) {
    const { columns, pitch, rows } = this.measure();
    const row = Math.min(Math.floor(index / columns), rows - 1);
    const top = this.list.getBoundingClientRect().top + row * pitch;
    const head = 90; // the bar at the top of the page
    if (top < head) scrollBy({ top: top - head, behavior: "instant" });
    else if (top + pitch > innerHeight) scrollBy({ top: top + pitch - innerHeight + 8, behavior: "instant" });
    this.active = index;
    this.draw();
    this.made.get(index)?.item.firstChild.focus({ preventScroll: true });
  }
}
