// The page: asks the server for what a place shows, and shows it.
import { alert, calm } from "./alert.js";
import * as api from "./api.js";
import { byId, element } from "./element.js";
import { example } from "./example.js";
import { Grid } from "./grid.js";
import { intake } from "./intake.js";
import { keys } from "./keys.js";
import { Labels } from "./labels.js";
import { morph } from "./morph.js";
import * as places from "./place.js";
import { Query } from "./query.js";
import { Listed, Paged } from "./rows.js";
import { told } from "./told.js";
import { Threshold } from "./threshold.js";
import { digitsOf, searchFrom } from "./tile.js";
import { admit } from "./token.js";

const A_FEW = 60;
const REMEMBERED = 40;
const PROGRESS_MS = 150;

const answers = new Map(); // of searches, by place, so that Back is at once
let gallery = null;
let asked = null; // for what the gallery is
let place = places.START;
let found = null;
let few = null; // the pictures of the first screen
let asking = null;
let map = null; // loaded when it is first looked at
let mapped = null; // the version of the gallery that it shows
let following = null;
let arriving = null;
let waited = false; // whether a picture is shown that is still on its way

const open = (image, from) => go(searchFrom(place, image.id), { from });
const grid = new Grid(byId("tiles"), open);
const query = new Query((box) => go({ box }, { replace: Boolean(box && place.box) }));
const labels = new Labels((chosen) => go({ labels: chosen }));
const threshold = new Threshold((atLeast) => { place = { ...place, atLeast }; places.put(place, { replace: true }); hits(); });

// Search or browse at a changed place, then go there; what fails leaves everything as it was.
async function go(change, { from = null, replace = false, name = "" } = {}) {
  const next = { ...place, ...change };
  const keyed = byId("tiles").contains(document.activeElement) && document.activeElement.matches(":focus-visible");
  arriving = null;
  const result = await fetched(next, () => go(change, { from, replace, name }), name);
  if (!result) { query.show(place, found?.query); return false; }
  calm();
  places.put(next, { replace });
  const another = next.id !== place.id || next.upload !== place.upload || next.all !== place.all;
  morph(from, () => {
    show(next, result);
    if (another && next.view === "grid") scrollTo(0, 0);
    if (keyed && !byId("tiles").hidden) grid.focus(0); // whoever goes by keys goes on from there
  });
  follow();
  return true;
}

// Back, Forward and the first look: the address has changed already.
async function arrive(next, scroll = 0) {
  arriving = next;
  const here = await places.isHere(next);
  if (arriving !== next) return;
  if (!here) {
    await home();
    alert("The picture that you brought is gone since the page was loaded again. Choose it once more.");
    return;
  }
  const result = await fetched(next, () => arrive(next, scroll));
  if (!result) return;
  calm();
  show(next, result);
  grid.draw();
  scrollTo(0, scroll);
}

// An address that leads nowhere leads to the start, under the sentence that says why.
async function home() {
  const result = await fetched(places.START, home);
  if (!result) return;
  places.put(places.START, { replace: true });
  show(places.START, result);
}

async function fetched(next, again, name = "") {
  asking?.abort();
  const mine = asking = new AbortController();
  const comes = Boolean(next.upload) && next.upload !== place.upload;
  const slow = setTimeout(() => { busy(true); if (comes) waiting(next); }, PROGRESS_MS);
  let result = null;
  try {
    result = await rowsOf(next, mine.signal);
  } catch (error) {
    if (error.name !== "AbortError") fail(error, again, name);
  } finally {
    clearTimeout(slow);
    if (asking === mine) {
      asking = null;
      busy(false);
      if (waited && !result && found) show(place, found);
    }
  }
  return result;
}

// A picture that takes a while to reach the server is shown at once, and can be called back.
function waiting(next) {
  waited = true;
  document.body.dataset.mode = "search";
  query.wait(next);
  byId("title").textContent = "Searching…";
  byId("detail").textContent = "";
  byId("actions").replaceChildren(element("button", { type: "button", class: "quiet", onclick: () => asking?.abort() }, "Cancel"));
}

async function rowsOf(next, signal) {
  if (places.asks(next)) return searched(next, signal);
  if (next.labels.length || next.all) {
    const rows = new Paged(next.labels, (error) => fail(error, () => grid.draw()));
    await rows.load(0, signal);
    return { rows };
  }
  few ??= (await api.random(A_FEW, signal)).images;
  return { rows: new Listed(few), few: true };
}

async function searched(next, signal) {
  const key = places.key(next);
  if (!answers.has(key)) {
    const { top } = (await asked).limits;
    const wish = { id: next.id, image: places.file(next), box: next.box, labels: next.labels, top };
    answers.set(key, await api.search(wish, signal));
    if (answers.size > REMEMBERED) answers.delete(answers.keys().next().value);
  }
  return answers.get(key);
}

function fail(error, again, name = "") {
  const mends = error.status === 0 || error.status === 429 || error.status >= 500;
  const sentence = error.message.charAt(0).toUpperCase() + error.message.slice(1);
  alert(name ? `${name}: ${error.message}` : sentence, mends ? { name: "Try again", run: again } : null);
}

function busy(on) {
  byId("progress").hidden = !on;
  byId("main").setAttribute("aria-busy", String(on));
}

function show(next, result) {
  [place, found] = [next, result];
  waited = false;
  document.body.dataset.mode = places.asks(place) ? "search" : "start";
  document.body.dataset.view = place.view;
  for (const view of ["grid", "map"]) byId(`view-${view}`).setAttribute("aria-pressed", String(place.view === view));
  query.show(place, found.query);
  labels.show(place.labels);
  threshold.show(found.hits ?? [], place.atLeast);
  hits();
}

// The grid and the words over it: all that a threshold changes.
function hits() {
  const kept = found.hits?.filter((hit) => !place.atLeast || hit.similarity >= place.atLeast);
  const rows = kept ? new Listed(kept, digitsOf(found.hits)) : found.rows;
  byId("tiles").hidden = place.view === "map" || !rows.count;
  if (grid.rows !== rows) grid.show(rows, place);
  told({ gallery, place, found, kept, rows, go, shuffle });
  byId("map").hidden = place.view !== "map" || !gallery?.map;
  if (!byId("map").hidden) seen(kept);
}

async function seen(kept) {
  const { version } = gallery;
  byId("map").classList.toggle("loading", mapped !== version);
  try {
    map ??= import("./map/map.js").then(({ GalleryMap }) => new GalleryMap(open));
    const drawn = await map.catch((error) => { map = null; throw error; });
    if (mapped !== version) await drawn.load();
    mapped = version;
    byId("map").classList.remove("loading");
    drawn.show({ place, query: found.query, hits: kept ?? [] });
  } catch (error) {
    fail(error, () => seen(kept));
  }
}

function shuffle() {
  few = null;
  return go({ all: false, labels: [] });
}

async function surprise() {
  const { images } = await api.random(1).catch((error) => { fail(error, surprise); return { images: [] }; });
  if (images.length) open(images[0], null);
}

function took(file) {
  const most = gallery?.limits.bytes ?? Infinity;
  const size = (bytes) => `${(bytes / 1e6).toFixed(1)} MB`;
  if (file.size > most) alert(`${file.name} has ${size(file.size)}; this server takes at most ${size(most)}. Send a smaller copy.`);
  else go({ ...searchFrom(place, null), upload: places.bring(file) }, { name: file.name });
}

// What is indexed while the page is open: at each step, and when a person comes back to it.
function follow() {
  following ??= followed().finally(() => { following = null; });
}

async function followed() {
  const now = await api.gallery().catch(() => null);
  if (!now || !gallery || now.version === gallery.version) return;
  gallery = now;
  few = null;
  asking?.abort(); // else its answer, of before, is kept
  answers.clear();
  about();
  if (now.images || !places.asks(place)) await arrive(place, scrollY);
  else await home();
}

// What the gallery is, wherever the page tells of it.
function about() {
  document.title = gallery.name ? `${gallery.name} · crossbatch` : "crossbatch";
  byId("gallery-name").textContent = gallery.name;
  byId("labels").hidden = !gallery.labels;
  document.body.classList.toggle("empty", !gallery.images);
  byId("view-map").disabled = !gallery.map;
  byId("notes").replaceChildren(...gallery.notes.map((note) => element("p", {}, note)));
  byId("notes").hidden = !gallery.notes.length;
}

async function look(view) {
  if (!await go({ view })) return;
  byId("main").scrollIntoView({ block: "nearest" }); // on a phone it lies below the query
  if (view === "map") byId("points").focus({ preventScroll: true });
}

function leave() {
  if (waited) asking?.abort();
  else if (places.asks(place)) go({ ...places.START, view: place.view });
}

function wire() {
  intake(took);
  byId("surprise").addEventListener("click", surprise);
  byId("leave").addEventListener("click", leave);
  byId("theme").addEventListener("click", () => window.switchTheme());
  byId("view-grid").addEventListener("click", () => look("grid"));
  byId("view-map").addEventListener("click", () => look("map"));
  byId("home").addEventListener("click", (event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    go(places.START);
  });
  keys({
    u: () => byId("choose").click(), s: surprise, t: () => window.switchTheme(), m: () => look(place.view === "map" ? "grid" : "map"),
    escape: leave, b: () => { if (found?.query) query.box.start(); }, "/": () => byId("label-words").focus(),
  });
  places.listen(arrive);
  addEventListener("focus", follow);
  document.addEventListener("visibilitychange", () => { if (!document.hidden) follow(); });
}

async function start() {
  wire();
  places.forget();
  await admit();
  asked = api.gallery();
  const first = arrive(places.read(), history.state?.scroll ?? 0);
  try {
    gallery = await asked;
  } catch (error) {
    fail(error, () => location.reload());
    return;
  }
  await first;
  if (!found) await home();
  about();
  if (found) hits();
  if (few?.length > 3) example(few[0], open);
}

start();
