// Pictures that were brought, kept by the browser for when the page is loaded again: the last few, for a day.

const KEPT = 10;
const DAY_MS = 864e5;

const done = (request) => new Promise((resolve, reject) => {
  request.onsuccess = () => resolve(request.result);
  request.onerror = () => reject(request.error);
});

async function pictures(mode) {
  const opening = indexedDB.open("crossbatch", 1);
  opening.onupgradeneeded = () => opening.result.createObjectStore("pictures");
  return (await done(opening)).transaction("pictures", mode).objectStore("pictures");
}

// A key begins with the time, in letters of one length, so that keys are in the order in which pictures came.
export const newKey = () => `${Date.now().toString(36)}-${Math.floor(Math.random() * 36 ** 4).toString(36)}`;
const age = (key) => Date.now() - parseInt(key, 36);

export async function keep(key, file) {
  await done((await pictures("readwrite")).put(file, key));
  await tidy();
}

// Forget all but the last few of the last day.
export async function tidy() {
  const store = await pictures("readwrite");
  const keys = await done(store.getAllKeys());
  await Promise.all(keys.filter((one, i) => i < keys.length - KEPT || age(one) > DAY_MS).map((one) => done(store.delete(one))));
}

export async function recall(key) {
  return age(key) > DAY_MS ? undefined : done((await pictures("readonly")).get(key));
}
