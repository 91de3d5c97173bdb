// The example of the first screen: a picture of this gallery and its three nearest.
import { search, thumbnail } from "./api.js";
import { byId, element } from "./element.js";
import { address, START } from "./place.js";
import { digitsOf } from "./tile.js";

const LEAST_WIDTH = "(min-width: 780px)";

export async function example(image, open) {
  if (!matchMedia(LEAST_WIDTH).matches) return;
  const { hits } = await search({ id: image.id, labels: [], top: 3 }).catch(() => ({ hits: [] }));
  if (hits.length < 3) return;
  const shown = [image, ...hits].map(({ id, similarity }) => element(
    "span", {}, element("img", { src: thumbnail(id), alt: "" }), similarity === undefined ? null : element("small", {}, similarity.toFixed(digitsOf(hits))),
  ));
  const link = byId("example");
  link.replaceChildren(...shown);
  link.href = address({ ...START, id: image.id });
  link.setAttribute("aria-label", "For example: a picture of this gallery and its three nearest");
  link.onclick = (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(image, link.firstChild);
  };
  link.hidden = false;
}
