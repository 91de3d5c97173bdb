// The view of the map: which point of it lies at the centre of the canvas, and how many pixels its side takes.

const MOST_ZOOM = 400;
const MARGIN_PX = 62; // on each side of the whole map: room for a picture at its edge
const MOVE_MS = 380;
const STILL = matchMedia("(prefers-reduced-motion: reduce)");

export class View {
  constructor(moved) {
    Object.assign(this, { moved, x: 0.5, y: 0.5, scale: 1, width: 1, height: 1, span: [1, 1] });
  }

  // `span`: width and height of what the map holds, at most 1 each.
  size(width, height, span) {
    const fitted = this.scale === this.fitScale;
    Object.assign(this, { width, height, span });
    const fits = (side, part) => Math.max(side / 2, side - 2 * MARGIN_PX) / Math.max(part, 0.05);
    this.fitScale = Math.min(fits(width, span[0]), fits(height, span[1]));
    if (fitted || !this.placed) { this.placed = true; this.fit(); }
  }

  fit() {
    Object.assign(this, { x: this.span[0] / 2, y: this.span[1] / 2, scale: this.fitScale });
    this.moved();
  }

  toScreen(x, y) { return [(x - this.x) * this.scale + this.width / 2, (y - this.y) * this.scale + this.height / 2]; }
  toMap(sx, sy) { return [(sx - this.width / 2) / this.scale + this.x, (sy - this.height / 2) / this.scale + this.y]; }

  // Left, top, right, bottom of what is seen, `border` pixels more on each side.
  seen(border = 0) {
    return [...this.toMap(-border, -border), ...this.toMap(this.width + border, this.height + border)];
  }

  pan(across, down) {
    this.stop();
    this.set(this.x - across / this.scale, this.y - down / this.scale, this.scale);
  }

  // By a factor, around a point of the canvas that stays where it is.
  zoom(factor, sx = this.width / 2, sy = this.height / 2) {
    this.stop();
    const [x, y] = this.toMap(sx, sy);
    const scale = Math.max(this.fitScale * 0.7, Math.min(this.fitScale * MOST_ZOOM, this.scale * factor));
    this.set(x - (sx - this.width / 2) / scale, y - (sy - this.height / 2) / scale, scale);
  }

  set(x, y, scale) {
    const within = (value, most) => Math.max(0, Math.min(most, value));
    Object.assign(this, { x: within(x, this.span[0]), y: within(y, this.span[1]), scale });
    this.moved();
  }

  // Glide there; at once for who wants no motion.
  glide(x, y, scale = this.scale) {
    this.stop();
    if (STILL.matches) { this.set(x, y, scale); return; }
    const from = [this.x, this.y, Math.log(this.scale)];
    const to = [x, y, Math.log(scale)];
    const start = performance.now();
    const step = (now) => {
      const t = Math.min(1, Math.max(0, now - start) / MOVE_MS);
      const eased = 1 - (1 - t) ** 3;
      const [nx, ny, ns] = from.map((value, i) => value + (to[i] - value) * eased);
      this.set(nx, ny, Math.exp(ns));
      this.gliding = t < 1 ? requestAnimationFrame(step) : null;
    };
    this.gliding = requestAnimationFrame(step);
  }

  stop() {
    cancelAnimationFrame(this.gliding);
  }
}
