// The threshold: a slider under a histogram, both over the range of the similarities found.
import { byId, element } from "./element.js";
import { digitsOf } from "./tile.js";

const BINS = 50;

export class Threshold {
  // `changed(least)` with a similarity, or with 0 where any will do.
  constructor(changed) {
    Object.assign(this, { hits: [], least: 0, most: 1, digits: 2 });
    this.slider = byId("at-least");
    this.slider.addEventListener("input", () => { this.tell(); changed(this.value); });
  }

  // 0 at the left end, where nothing is left out.
  get value() { return Number(this.slider.value) > this.least ? Number(this.slider.value) : 0; }

  show(hits, atLeast) {
    this.hits = hits;
    this.digits = digitsOf(hits);
    const unit = 10 ** this.digits;
    const [best, last] = [hits[0]?.similarity ?? 1, hits.at(-1)?.similarity ?? 0];
    this.least = Math.max(0, Math.min(Math.floor(last * unit) / unit, atLeast || 1)); // what is below 0 is unlike: any will do
    this.most = Math.max(Math.ceil(best * unit) / unit, this.least + 1 / unit, atLeast);
    Object.assign(this.slider, { min: this.least, max: this.most, step: 1 / unit, disabled: !hits.length });
    this.slider.value = atLeast || this.least;
    byId("at-least-ends").replaceChildren(...[this.least, this.most].map((end) => element("span", {}, end.toFixed(this.digits))));
    this.tell();
  }

  tell() {
    const words = this.value ? this.value.toFixed(this.digits) : "any";
    byId("at-least-value").textContent = words;
    this.slider.setAttribute("aria-valuetext", words);
    const width = (this.most - this.least) / BINS;
    const counts = new Array(BINS).fill(0);
    for (const hit of this.hits) counts[Math.max(0, Math.min(BINS - 1, Math.floor((hit.similarity - this.least) / width)))] += 1;
    const most = Math.max(1, ...counts);
    const bars = (keep) => counts.map((count, bin) => {
      const kept = this.least + (bin + 1) * width > this.value;
      return count && kept === keep ? `M${bin * 100 / BINS} 24v${-Math.max(2, 24 * Math.sqrt(count / most))}h${100 / BINS - 0.4}V24z` : "";
    }).join("");
    const [below, above] = byId("histogram").children;
    below.setAttribute("d", bars(false));
    above.setAttribute("d", bars(true));
  }
}
