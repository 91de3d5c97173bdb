// Where a person is: what is searched with, which part, what is filtered and how it is seen; kept in the address.
import { keep, newKey, recall, tidy } from "./kept.js";

export const START = Object.freeze({ id: null, upload: null, box: null, labels: [], atLeast: 0, view: "grid", all: false });

// Files that were brought: an address holds no picture.
const brought = new Map();

export function bring(file) {
  const key = newKey();
  brought.set(key, file);
  keep(key, file).catch(() => null); // a private window keeps none: then the page tells when it is loaded again
  return key;
}

export const forget = () => tidy().catch(() => null);

// Whether what one searches with is here, or could be fetched from what the browser keeps.
export async function isHere(place) {
  if (!place.upload || brought.has(place.upload)) return true;
  const file = await recall(place.upload).catch(() => undefined);
  if (file) brought.set(place.upload, file);
  return Boolean(file);
}

export const file = (place) => brought.get(place.upload);
export const asks = (place) => Boolean(place.id || place.upload);

// What decides the hits; threshold and view do not.
export const key = (place) => JSON.stringify([place.id, place.upload, place.box, place.labels]);

export function read(words = location.search) {
  const given = new URLSearchParams(words);
  const box = (given.get("box") ?? "").split(",").map(Number);
  const atLeast = Number(given.get("min"));
  const [id, upload] = [given.get("id"), given.get("picture")];
  return {
    id,
    upload,
    box: (id || upload) && box.length === 4 && box.every((share) => share >= 0 && share <= 1) && box[0] < box[2] && box[1] < box[3] ? box : null,
    labels: given.getAll("label"),
    atLeast: atLeast > 0 && atLeast <= 1 ? atLeast : 0,
    view: given.get("view") === "map" ? "map" : "grid",
    all: given.has("all"),
  };
}

export function address(place) {
  const words = new URLSearchParams();
  if (place.id) words.set("id", place.id);
  if (place.upload) words.set("picture", place.upload);
  if (place.box) words.set("box", place.box.map((share) => Number(share.toFixed(4))).join(","));
  for (const label of place.labels) words.append("label", label);
  if (place.atLeast) words.set("min", place.atLeast);
  if (place.view === "map") words.set("view", "map");
  if (place.all) words.set("all", "");
  const text = words.toString().replaceAll("%2C", ",").replace(/all=$/, "all");
  return text ? `/?${text}` : "/";
}

// Go there, as a step that Back undoes, or in place of the present one.
export function put(place, { replace = false } = {}) {
  if (replace || address(place) === location.pathname + location.search) history.replaceState(history.state, "", address(place));
  else {
    keepScroll();
    history.pushState({ scroll: 0 }, "", address(place));
  }
}

function keepScroll() {
  history.replaceState({ ...history.state, scroll: window.scrollY }, "");
}

// `moved(place, scroll)` at Back and Forward.
export function listen(moved) {
  history.scrollRestoration = "manual";
  addEventListener("scrollend", keepScroll);
  addEventListener("pagehide", keepScroll);
  addEventListener("popstate", (event) => moved(read(), event.state?.scroll ?? 0));
}
