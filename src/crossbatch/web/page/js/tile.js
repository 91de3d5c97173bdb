// One picture of the grid: a link that searches from it, with its label and how similar it is.
import { thumbnail } from "./api.js";
import { element } from "./element.js";
import { address } from "./place.js";

export const nameOf = (image) => image.label ?? image.path.split("/").at(-1);
// A hundredth tells pictures apart, but where all are near 1 it takes a thousandth.
export const words = (similarity) => similarity.toFixed(similarity > 0.99 ? 3 : 2);
export const isTiny = (image) => Math.max(image.width, image.height) <= 96;

export function tile(image, place) {
  if (!image) return element("span", { class: "tile waiting" }, element("div", { class: "picture" }), element("div", { class: "caption" }));
  const picture = element("img", { src: thumbnail(image.id), alt: "", decoding: "async", draggable: "false", class: isTiny(image) ? "tiny" : null });
  picture.addEventListener("load", () => picture.classList.add("here"), { once: true });
  if (picture.complete) picture.classList.add("here");
  const frame = element("div", { class: "picture" }, picture);
  const caption = element("div", { class: "caption" }, element("span", {}, nameOf(image)));
  const found = image.similarity !== undefined;
  if (found) {
    const share = element("i");
    share.style.transform = `scaleX(${Math.max(0, Math.min(1, image.similarity))})`;
    frame.append(element("div", { class: "bar-of", "aria-hidden": "true" }, share));
    caption.append(element("b", {}, words(image.similarity)));
  }
  const href = address({ ...place, id: image.id, upload: null, box: null, all: false });
  return element("a", { class: "tile", href, title: image.path, "data-id": image.id, tabindex: "-1" }, frame, caption);
}
