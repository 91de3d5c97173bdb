// The map of the gallery: points by their labels' colours, names, pictures where there is room, the hits of a search.
import * as api from "../api.js";
import { byId, element } from "../element.js";
import { address } from "../place.js";
import { digitsOf, searchFrom } from "../tile.js";
import { colours, css } from "./colours.js";
import { gestures } from "./gestures.js";
import { drawNames, placesOfNames } from "./names.js";
import { Pictures } from "./pictures.js";
import { Places } from "./places.js";
import { clear, stamp } from "./points.js";
import { View } from "./view.js";

const REACH_PX = 16;
const STRIP = 40;
const LINES = 12;

export class GalleryMap {
  constructor(open) {
    Object.assign(this, { open, shown: { hits: [] }, pointed: -1 });
    this.canvas = byId("points");
    this.context = this.canvas.getContext("2d", { alpha: false });
    this.view = new View(() => this.soon());
    this.wire();
  }

  // What the gallery has now.
  async load() {
    const data = await api.map();
    this.point(-1);
    Object.assign(this, { ids: data.id, labels: data.labels, label: Int32Array.from(data.label), colours: null });
    this.x = Float32Array.from(data.x);
    this.y = Float32Array.from(data.y);
    this.rows = new Map(data.id.map((id, i) => [id, i]));
    this.all = new Uint32Array(data.id.length).map((_, i) => i);
    this.places = new Places(this.x, this.y);
    this.names = placesOfNames(data.labels, this.label, this.x, this.y);
    this.pictures = new Pictures(data.id, () => this.soon());
  }

  wire() {
    gestures(this.canvas, this.view, {
      point: (x, y) => this.point(x === undefined ? -1 : this.under(x, y), x, y),
      choose: (x, y) => this.choose(this.under(x, y)),
      chooseMiddle: () => this.choose(this.middle()),
      moved: () => this.pointMiddle(),
    });
    this.canvas.addEventListener("focus", () => { if (this.canvas.matches(":focus-visible")) this.pointMiddle(); });
    this.canvas.addEventListener("blur", () => { this.aimed = false; this.point(-1); });
    byId("zoom-in").onclick = () => this.view.glide(this.view.x, this.view.y, this.view.scale * 2);
    byId("zoom-out").onclick = () => this.view.glide(this.view.x, this.view.y, Math.max(this.view.fitScale, this.view.scale / 2));
    byId("zoom-fit").onclick = () => this.view.glide(this.view.span[0] / 2, this.view.span[1] / 2, this.view.fitScale);
    document.addEventListener("themechange", () => { this.colours = null; this.soon(); });
    new ResizeObserver(() => this.resize()).observe(this.canvas);
    document.fonts.ready.then(() => this.soon());
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.canvas;
    if (!width || !height || !this.ids) return;
    this.ratio = Math.min(devicePixelRatio || 1, 2);
    Object.assign(this.canvas, { width: Math.round(width * this.ratio), height: Math.round(height * this.ratio) });
    this.image = this.context.createImageData(this.canvas.width, this.canvas.height);
    const most = (values) => values.reduce((a, b) => Math.max(a, b), 0);
    this.view.size(width, height - byId("strip").offsetHeight, [most(this.x), most(this.y)]);
    this.soon();
  }

  // A place with the hits of its search, if there is one: `query` and `hits` as the server gave them.
  show({ place, query, hits }) {
    const at = this.rows.get(query?.id) ?? -1;
    const found = hits.slice(0, STRIP).map((hit) => this.rows.get(hit.id)).filter((i) => i !== undefined);
    const only = place.labels.length ? new Set(place.labels.map((label) => this.labels.indexOf(label))) : null;
    const near = new Set([at, ...found]);
    const lit = query ? (i) => near.has(i) : only ? (i) => only.has(this.label[i]) : null; // which are not dimmed
    this.shown = { at, hits: found, only, lit };
    this.strip(hits.slice(0, STRIP), place, digitsOf(hits));
    this.resize();
    const target = at >= 0 ? at : found[0] ?? -1;
    if (target >= 0) this.bringIn(target);
  }

  bringIn(i) {
    const [sx, sy] = this.view.toScreen(this.x[i], this.y[i]);
    const { width, height } = this.view;
    if (sx < 40 || sy < 40 || sx > width - 40 || sy > height - 40) this.view.glide(this.x[i], this.y[i]);
  }

  strip(hits, place, digits) {
    byId("strip").hidden = !hits.length;
    byId("strip").replaceChildren(...hits.map((hit) => {
      const href = address(searchFrom(place, hit.id));
      const picture = element("img", { src: api.thumbnail(hit.id), alt: hit.label ?? hit.path, loading: "lazy" });
      const link = element("a", { href }, picture, hit.similarity.toFixed(digits));
      link.addEventListener("click", (event) => {
        if (event.ctrlKey || event.metaKey || event.shiftKey) return;
        event.preventDefault();
        this.open(hit, link);
      });
      return element("li", {}, link);
    }));
  }

  soon() {
    this.asked ??= requestAnimationFrame(() => { this.asked = null; this.draw(); });
  }

  draw() {
    if (!this.image || !this.canvas.clientWidth) return;
    this.colours ??= colours(this.labels.length, this.canvas);
    const { context, view } = this;
    const seen = this.places.within(view.seen(60 + byId("strip").offsetHeight));
    this.size = this.pictures.size(view, this.ids.length);
    clear(this.image, this.colours.ground);
    const radius = Math.min(7, Math.max(1.4, 150 / Math.sqrt(this.ids.length)) * (view.scale / view.fitScale) ** 0.35);
    const { only, lit } = this.shown;
    const faint = lit ? seen.filter((i) => !lit(i)) : [];
    stamp(this.image, faint, this, view, this.ratio, radius * this.ratio, () => this.colours.dim);
    stamp(this.image, lit ? seen.filter(lit) : seen, this, view, this.ratio, radius * this.ratio, (i) => this.colourOf(i));
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.putImageData(this.image, 0, 0);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    this.chosen = this.size ? this.pictures.choose(this.first(seen), this, view, this.size) : [];
    this.drawHits(radius);
    for (const picture of this.chosen) this.pictures.draw(context, picture, this.size, this.colourOf(picture.i));
    this.drawQuery(radius);
    drawNames(context, this.names, view, getComputedStyle(document.body).fontFamily, this.colours, only, this);
    this.drawAim();
  }

  // Which points may have pictures: of a search the query and its hits, the nearest first.
  first(seen) {
    const { at, hits, lit } = this.shown;
    if (!lit) return seen;
    const before = [at, ...hits].filter((i) => i >= 0);
    return before.length ? before : seen.filter(lit);
  }

  colourOf(i) {
    return this.label[i] < 0 ? this.colours.none : this.colours.labels[this.label[i]];
  }

  drawHits(radius) {
    const { context, view, shown, colours: { ink } } = this;
    const where = (i) => view.toScreen(this.x[i], this.y[i]);
    context.lineWidth = 1.5;
    context.strokeStyle = css(ink, 0.45);
    for (const hit of shown.at >= 0 ? shown.hits.slice(0, LINES) : []) {
      context.beginPath();
      context.moveTo(...where(shown.at));
      context.lineTo(...where(hit));
      context.stroke();
    }
    const pictured = new Set(this.chosen.map(({ i }) => i));
    for (const hit of shown.hits) if (!pictured.has(hit)) this.ring(where(hit), radius + 1.5, this.colourOf(hit), ink, 1.5);
  }

  drawQuery(radius) {
    const { at } = this.shown;
    if (at < 0) return;
    const { ink, ground } = this.colours;
    const where = this.view.toScreen(this.x[at], this.y[at]);
    if (this.chosen.some(({ i }) => i === at)) this.frame(where, ink);
    else this.ring(where, radius + 5, ink, ground, 3);
  }

  ring([x, y], radius, fill, line, width) {
    this.context.beginPath();
    this.context.arc(x, y, radius, 0, 2 * Math.PI);
    this.context.fillStyle = css(fill);
    this.context.fill();
    this.context.lineWidth = width;
    this.context.strokeStyle = css(line);
    this.context.stroke();
  }

  frame([x, y], colour) {
    const side = this.size + 10;
    this.context.beginPath();
    this.context.roundRect(x - side / 2, y - side / 2, side, side, side / 7);
    this.context.lineWidth = 4;
    this.context.strokeStyle = css(colour);
    this.context.stroke();
  }

  // Where keys aim: the centre, and what is nearest to it.
  drawAim() {
    if (!this.aimed) return;
    const { context, view: { width, height } } = this;
    context.strokeStyle = css(this.colours.ink);
    context.lineWidth = 1.5;
    context.beginPath();
    for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
      context.moveTo(width / 2 + 6 * dx, height / 2 + 6 * dy);
      context.lineTo(width / 2 + 16 * dx, height / 2 + 16 * dy);
    }
    context.stroke();
  }

  under(x, y) {
    const half = this.size / 2;
    const on = this.chosen?.findLast(({ sx, sy }) => Math.abs(sx - x) <= half && Math.abs(sy - y) <= half);
    return on ? on.i : this.places.nearest(...this.view.toMap(x, y), REACH_PX / this.view.scale);
  }

  middle() {
    for (let reach = REACH_PX; reach < this.view.width; reach *= 2) {
      const i = this.places.nearest(this.view.x, this.view.y, reach / this.view.scale);
      if (i >= 0) return i;
    }
    return -1;
  }

  pointMiddle() {
    this.aimed = true;
    const i = this.middle();
    this.point(i, ...(i < 0 ? [] : this.view.toScreen(this.x[i], this.y[i])));
    byId("map-says").textContent = i < 0 ? "No picture here" : this.nameOf(i) || "A picture without a label";
    this.soon();
  }

  nameOf(i) { return this.label[i] < 0 ? "" : this.labels[this.label[i]]; }

  // A card beside the point: its picture and its label.
  point(i, x = 0, y = 0) {
    const card = byId("card");
    this.canvas.classList.toggle("on-point", i >= 0);
    card.hidden = i < 0;
    if (i < 0) { this.pointed = -1; return; }
    if (i !== this.pointed) card.replaceChildren(element("img", { src: api.thumbnail(this.ids[i]), alt: "" }), element("p", { dir: "auto", hidden: !this.nameOf(i) }, this.nameOf(i)));
    this.pointed = i;
    const { width, height } = this.view;
    const left = x + 20 + 148 > width ? x - 20 - 148 : x + 20;
    card.style.transform = `translate(${Math.max(6, left)}px, ${Math.max(6, Math.min(height - 200, y - 70))}px)`;
  }

  choose(i) {
    if (i < 0) return;
    this.point(-1);
    this.open({ id: this.ids[i] }, null);
  }
}
