// The threshold: a slider under a histogram of the similarities found.
import { byId } from "./element.js";

const BINS = 50;

export class Threshold {
  constructor(changed) {
    this.slider = byId("at-least");
    this.hits = [];
    this.slider.addEventListener("input", () => { this.tell(); changed(this.value); });
  }

  get value() { return Number(this.slider.value); }

  show(hits, atLeast) {
    this.hits = hits;
    this.slider.value = atLeast;
    this.tell();
  }

  tell() {
    const words = this.value ? this.value.toFixed(2) : "any";
    byId("at-least-value").textContent = words;
    this.slider.setAttribute("aria-valuetext", words);
    const counts = new Array(BINS).fill(0);
    for (const hit of this.hits) counts[Math.max(0, Math.min(BINS - 1, Math.floor(hit.similarity * BINS)))] += 1;
    const most = Math.max(1, ...counts);
    const bars = (keep) => counts.map((count, bin) => {
      const kept = (bin + 1) / BINS > this.value;
      return count && kept === keep ? `M${bin * 100 / BINS} 24v${-Math.max(2, 24 * Math.sqrt(count / most))}h${100 / BINS - 0.4}V24z` : "";
    }).join("");
    const [below, above] = byId("histogram").children;
    below.setAttribute("d", bars(false));
    above.setAttribute("d", bars(true));
  }
}
