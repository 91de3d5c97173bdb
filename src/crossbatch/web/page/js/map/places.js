// The points by where they lie: a lattice that answers which are in a rectangle, and which is nearest.

const POINTS_A_CELL = 6;

export class Places {
  constructor(x, y) {
    Object.assign(this, { x, y, side: Math.max(1, Math.round(Math.sqrt(x.length / POINTS_A_CELL))) });
    const cells = new Uint32Array(x.length).map((_, i) => this.cell(x[i]) + this.side * this.cell(y[i]));
    this.starts = new Uint32Array(this.side ** 2 + 1);
    for (const cell of cells) this.starts[cell + 1] += 1;
    for (let cell = 0; cell < this.side ** 2; cell += 1) this.starts[cell + 1] += this.starts[cell];
    const next = this.starts.slice();
    this.order = new Uint32Array(x.length);
    cells.forEach((cell, i) => { this.order[next[cell]] = i; next[cell] += 1; });
  }

  cell(share) { return Math.max(0, Math.min(this.side - 1, Math.floor(share * this.side))); }

  // The points within left, top, right, bottom, ascending: the first stay the first when the rectangle moves.
  within([left, top, right, bottom]) {
    const found = [];
    for (let row = this.cell(top); row <= this.cell(bottom); row += 1) {
      const from = this.starts[this.cell(left) + this.side * row];
      const to = this.starts[this.cell(right) + this.side * row + 1];
      for (let at = from; at < to; at += 1) {
        const i = this.order[at];
        if (this.x[i] >= left && this.x[i] <= right && this.y[i] >= top && this.y[i] <= bottom) found.push(i);
      }
    }
    return Uint32Array.from(found).sort();
  }

  // The nearest point no further than `reach`, or −1.
  nearest(x, y, reach) {
    let [best, least] = [-1, reach * reach];
    for (const i of this.within([x - reach, y - reach, x + reach, y + reach])) {
      const apart = (this.x[i] - x) ** 2 + (this.y[i] - y) ** 2;
      if (apart <= least) [best, least] = [i, apart];
    }
    return best;
  }
}
