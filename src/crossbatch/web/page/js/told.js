// The words over the pictures: what they are, how many, and what to do where there are none.
import { byId, element, icon } from "./element.js";
import { asks, START } from "./place.js";
import { digitsOf } from "./tile.js";

const number = (count) => count.toLocaleString("en");
const many = (count, noun = "picture") => `${number(count)} ${noun}${count === 1 ? "" : "s"}`;

export function told({ gallery, place, found, kept, rows, go, shuffle }) {
  const over = asks(place) ? ofSearch(gallery, place, found, kept) : ofGallery(gallery, place, found, rows);
  byId("title").textContent = over.title;
  byId("detail").textContent = over.detail;
  byId("detail").title = over.hint ?? "";
  byId("actions").replaceChildren(...actions(gallery, place, found, go, shuffle));
  const none = nothing({ gallery, place, found, kept, rows, go });
  byId("nothing").hidden = !none;
  if (none) byId("nothing").replaceChildren(icon("mark"), element("h2", {}, none.title), ...none.lines, ...none.buttons);
}

function ofSearch(gallery, place, found, kept) {
  const { method, recall_at_10: recall, images } = found.search;
  const took = Object.values(found.milliseconds).reduce((sum, part) => sum + (part ?? 0), 0);
  const least = place.atLeast.toFixed(digitsOf(found.hits));
  const more = kept.length === found.hits.length && kept.length >= (gallery?.limits.top ?? Infinity); // than were asked for
  const nearest = kept.length === 1 ? "The nearest" : `${number(kept.length)} nearest`;
  const shown = !place.atLeast ? nearest : more ? `${nearest}, all at ${least} or more,` : `${number(kept.length)} at ${least} or more`;
  const among = place.labels.length ? "with the labels chosen" : `of ${many(images)}`;
  const how = method === "exact" ? "exact" : `${method.toUpperCase()}${recall === null ? "" : `, recall@10 ${recall.toFixed(3)}`}`;
  return {
    title: place.box ? "Like this part" : "Like this picture",
    detail: found.hits.length ? `${shown} ${among} · ${how}` : "",
    hint: `Found in ${took < 10 ? took.toFixed(1) : took.toFixed(0)} ms. Similarity is the cosine of two embeddings: 1 is the same.`,
  };
}

function ofGallery(gallery, place, found, rows) {
  const total = gallery?.images ?? rows.count;
  if (place.view === "map") return { title: "Map of the gallery", detail: `${many(total)}; those that look alike lie close together` };
  if (place.labels.length) return { title: place.labels.join(", "), detail: many(rows.count) };
  if (!found.few || total <= rows.count) return { title: "All pictures", detail: many(total) };
  return { title: "From the gallery", detail: `${number(rows.count)} of ${many(total)}, drawn at random` };
}

function actions(gallery, place, found, go, shuffle) {
  if (asks(place) || place.view === "map" || place.labels.length) return [];
  if (found.few && (gallery?.images ?? 0) <= found.rows.count) return [];
  const button = (name, run) => element("button", { type: "button", class: "quiet", onclick: run }, name);
  return found.few ? [button("Shuffle", shuffle), button("Show all", () => go({ all: true }))] : [button("Back to a few", () => go({ all: false }))];
}

function nothing({ gallery, place, found, kept, rows, go }) {
  const line = (...words) => element("p", {}, ...words);
  const button = (name, change) => element("button", { type: "button", onclick: () => go(change) }, name);
  if (gallery?.images === 0) {
    return { title: "This gallery is empty", lines: [line("Add pictures, then come back to this page: "), line(element("code", {}, "crossbatch index RUN PHOTOS --to GALLERY"))], buttons: [] };
  }
  if (place.view === "map") {
    const few = gallery && !gallery.map;
    return few ? { title: "No map yet", lines: [line("A map needs at least three pictures.")], buttons: [button("Show pictures", { view: "grid" })] } : null;
  }
  if (kept ? kept.length : rows.count) return null;
  if (kept && found.hits.length) {
    const digits = digitsOf(found.hits);
    const reached = Math.floor(found.hits[0].similarity * 10 ** digits) / 10 ** digits;
    const lines = [line(`None is as similar as ${place.atLeast.toFixed(digits)}; the nearest reaches ${reached.toFixed(digits)}.`)];
    return { title: "Nothing that similar", lines, buttons: [button("Show all neighbours", { atLeast: 0 })] };
  }
  if (place.labels.length) {
    return { title: "No picture here", lines: [line(kept ? "The gallery has no other picture of the labels chosen." : "The gallery has no picture of the labels chosen.")], buttons: [button("Any label", { labels: [] })] };
  }
  return { title: "No neighbours", lines: [line("This is the only picture of the gallery.")], buttons: [button("Back to the start", START)] };
}
