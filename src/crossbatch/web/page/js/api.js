// The server: the one place that knows its addresses and its errors.

// What the server refused, or that it is gone; the message is for the person.
export class Refused extends Error {
  constructor(status, code, sentence) {
    super(sentence);
    Object.assign(this, { status, code });
  }
}

const GONE = "The server does not answer. Is “crossbatch serve” still running?";
const TRIES_WHILE_BUSY = 4;
let unlock = null; // asks the person for the token; set by token.js

export const onLocked = (ask) => { unlock = ask; };
export const thumbnail = (id) => `/thumbnails/${id}`;
export const original = (id) => `/images/${id}`;

export const gallery = (signal) => ask("/gallery", { signal });
export const random = (count, signal) => ask(`/random?count=${count}`, { signal });
export const map = (signal) => ask("/map", { signal });

export function images(offset, limit, labels, signal) {
  return ask(`/images?${query({ offset, limit, label: labels })}`, { signal });
}

export function labels(contains, limit, signal) {
  return ask(`/labels?${query({ contains, limit })}`, { signal });
}

// The nearest pictures of one in the gallery (`id`) or of a file (`image`); `box` is left, top, right, bottom as shares.
export function search({ id, image, box, labels: only, top }, signal) {
  if (id && !box) return ask(`/similar/${encodeURIComponent(id)}?${query({ top, label: only })}`, { signal });
  const body = new FormData();
  if (id) body.set("id", id);
  else body.set("image", image, image.name || "pasted picture");
  if (box) body.set("box", box.join(","));
  body.set("top", top);
  for (const label of only) body.append("label", label);
  return ask("/search", { method: "POST", body, signal });
}

// A picture that the browser cannot show, as one that it can.
export async function preview(image, signal) {
  const body = new FormData();
  body.set("image", image, image.name || "picture");
  return ask("/previews", { method: "POST", body, signal });
}

export async function session(token) {
  const body = JSON.stringify({ token });
  await once("/session", { method: "POST", body, headers: { "Content-Type": "application/json" } });
}

function query(fields) {
  const words = new URLSearchParams();
  for (const [name, value] of Object.entries(fields)) {
    for (const one of Array.isArray(value) ? value : [value]) words.append(name, one);
  }
  return words;
}

async function ask(path, options) {
  for (let tried = 1; ; tried += 1) {
    try {
      return await once(path, options);
    } catch (error) {
      if (error.code === "token" && unlock) await unlock();
      else if (error.code === "busy" && tried < TRIES_WHILE_BUSY) await new Promise((wake) => { setTimeout(wake, 700 * tried); });
      else throw error;
    }
    options.signal?.throwIfAborted();
  }
}

async function once(path, options) {
  try {
    const answer = await fetch(path, options);
    if (answer.ok && answer.headers.get("content-type")?.startsWith("image/")) return await answer.blob();
    if (answer.ok) return answer.status === 204 ? null : await answer.json();
    const { error, code } = await answer.json().catch(() => ({}));
    throw new Refused(answer.status, code, error ?? `The server answered with status ${answer.status}.`);
  } catch (error) {
    if (error instanceof Refused || error.name === "AbortError") throw error;
    throw new Refused(0, "gone", GONE);
  }
}
