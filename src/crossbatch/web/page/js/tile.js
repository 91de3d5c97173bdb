// One picture of the grid: a link that searches from it, with its label and how similar it is.
import { thumbnail } from "./api.js";
import { element } from "./element.js";
import { address } from "./place.js";

export const nameOf = (image) => image.label ?? image.path.split("/").at(-1);
// The decimals that tell hits apart, alike for all of one search: where all are near 1 it takes more.
export function digitsOf(hits) {
  const last = hits.at(-1)?.similarity ?? 0;
  return last > 0.99 ? 4 : last > 0.9 ? 3 : 2;
}
export const isTiny = (image) => Math.max(image.width, image.height) <= 96;
const isLong = (image) => Math.max(image.width / image.height, image.height / image.width) > 2.5;
const NEXT = { upload: null, box: null, all: false, atLeast: 0 }; // of a search from a picture of the gallery
export const searchFrom = (place, id) => ({ ...place, ...NEXT, id });

export function tile(image, place, digits) {
  if (!image) return element("span", { class: "tile waiting" }, element("div", { class: "picture" }), element("div", { class: "caption" }));
  const picture = element("img", { src: thumbnail(image.id), alt: "", decoding: "async", draggable: "false", class: isTiny(image) ? "tiny" : isLong(image) ? "long" : null });
  picture.addEventListener("load", () => picture.classList.add("here"), { once: true });
  if (picture.complete) picture.classList.add("here");
  const frame = element("div", { class: "picture" }, picture);
  const caption = element("div", { class: "caption" }, element("span", { dir: "auto" }, nameOf(image)));
  const found = image.similarity !== undefined;
  if (found) {
    const share = element("i");
    share.style.transform = `scaleX(${Math.max(0, Math.min(1, image.similarity))})`;
    frame.append(element("div", { class: "bar-of", "aria-hidden": "true" }, share));
    caption.append(element("b", {}, image.similarity.toFixed(digits)));
  }
  const href = address(searchFrom(place, image.id));
  return element("a", { class: "tile", href, title: image.path, "data-id": image.id, tabindex: "-1" }, frame, caption);
}
