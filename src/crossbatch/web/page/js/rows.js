// The rows that a grid shows: all of them here, or fetched a page at a time as the grid comes to them.
import { images } from "./api.js";

export class Listed {
  // `digits`: decimals of the similarities, where there are some.
  constructor(list, digits = 2) {
    Object.assign(this, { list, digits, count: list.length });
  }
  at(index) { return this.list[index]; }
  need() {}
}

const PAGE = 120;
const STILL_MS = 60; // who drags the scroll bar past a thousand pages does not want them

export class Paged {
  constructor(labels, failed) {
    Object.assign(this, { labels, failed, count: 0, pages: new Map(), changed: () => {} });
  }

  at(index) { return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE]; }

  need(from, to) {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      for (let page = Math.floor(from / PAGE); page * PAGE < Math.min(to, this.count); page += 1) this.load(page).catch(this.failed);
    }, STILL_MS);
  }

  async load(page, signal) {
    if (this.pages.has(page)) return;
    this.pages.set(page, []); // asked for
    try {
      const answer = await images(page * PAGE, PAGE, this.labels, signal);
      this.pages.set(page, answer.images);
      this.count = answer.total;
      this.changed();
    } catch (error) {
      this.pages.delete(page);
      throw error;
    }
  }
}
