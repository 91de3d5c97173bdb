// The picture that is searched with: shown whole, with its name and its box.
import { original, preview, thumbnail } from "./api.js";
import { Box } from "./box.js";
import { byId, element, icon } from "./element.js";
import { file } from "./place.js";
import { isTiny } from "./tile.js";

const THUMBNAIL_PX = 256;

export class Query {
  constructor(changed) {
    this.box = new Box(changed);
    this.picture = byId("query-picture");
    this.picture.draggable = false;
    this.picture.addEventListener("error", () => this.unseen());
    this.picture.addEventListener("load", () => byId("frame").style.setProperty("--ratio", this.picture.naturalWidth / this.picture.naturalHeight));
    byId("part").addEventListener("click", () => (this.place.box ? changed(null) : this.box.start()));
  }

  // A picture of one's own that is on its way to the server.
  wait(place) {
    byId("asked").hidden = false;
    byId("part").parentElement.hidden = true;
    this.box.show(null);
    this.shown(place.upload, place);
    byId("query-name").textContent = file(place).name || "A picture";
    byId("query-hint").textContent = "Searching…";
  }

  // `place` may hold no query; `asked` is the query as the server answered.
  show(place, asked) {
    byId("asked").hidden = !asked;
    byId("asked").classList.toggle("boxing", Boolean(place.box));
    byId("part").parentElement.hidden = false;
    byId("part").replaceChildren(icon(place.box ? "i-close" : "i-part"), element("span", {}, place.box ? "Whole picture" : "Search a part"));
    this.place = place;
    this.box.show(asked ? place.box : null);
    this.shown(asked ? place.id ?? place.upload : null, place, asked);
    if (!asked) return;
    byId("open").hidden = !asked.id;
    byId("open").href = asked.id ? original(asked.id) : "";
    byId("frame").style.setProperty("--ratio", asked.width / asked.height);
    this.picture.classList.toggle("tiny", isTiny(asked));
    byId("query-name").textContent = asked.name || "A picture";
    byId("query-name").title = asked.name;
    byId("query-hint").textContent = hint(place, asked);
  }

  shown(which, place, asked) {
    if (which === this.which) return;
    this.which = which;
    if (this.url) URL.revokeObjectURL(this.url);
    this.url = null;
    if (!which) { this.picture.removeAttribute("src"); return; }
    byId("frame").classList.remove("unseen");
    this.brought = place.upload ? file(place) : null;
    if (this.brought) this.picture.src = this.url = URL.createObjectURL(this.brought);
    else this.load(place.id, asked);
  }

  // A format that the browser does not know, such as TIFF or HEIC: the server draws it anew, once.
  async unseen() {
    byId("frame").classList.add("unseen");
    const [which, image] = [this.which, this.brought];
    this.brought = null;
    const seen = image && (await preview(image).catch(() => null)); // a refusal is told by the search
    if (!seen || this.which !== which) return;
    URL.revokeObjectURL(this.url);
    byId("frame").classList.remove("unseen");
    this.picture.src = this.url = URL.createObjectURL(seen);
  }

  // The small picture at once, since the grid has shown it; the large one when it is here.
  load(id, asked) {
    this.picture.src = thumbnail(id);
    if (Math.max(asked.width, asked.height) <= THUMBNAIL_PX) return;
    const large = new Image();
    large.src = original(id);
    large.decode().then(() => { if (this.which === id) this.picture.src = large.src; }, () => null); // the small one stays
  }
}

function hint(place, asked) {
  if (place.box) return "The part in the box";
  const from = place.upload ? (asked.id ? "Yours; the gallery has it too" : "Your picture") : "From the gallery";
  return `${from} · ${asked.width.toLocaleString("en")}\u00a0×\u00a0${asked.height.toLocaleString("en")}`;
}
