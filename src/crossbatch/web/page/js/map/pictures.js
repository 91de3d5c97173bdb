// Pictures at the points: once points lie far enough apart, as many as fit beside each other.
import { thumbnail } from "../api.js";
import { css } from "./colours.js";

const FROM_PX = 20; // mean distance of neighbouring points; below it, points only
const SIZES_PX = [38, 104];
const MOST = 150;
const IN_FLIGHT = 6;
const REMEMBERED = 900;

export class Pictures {
  constructor(ids, loaded) {
    Object.assign(this, { ids, loaded, kept: new Map(), wanted: [], flying: 0 });
  }

  // How large a picture is at this view, or 0 where there are points only.
  size(view, count) {
    const apart = view.scale * Math.sqrt(view.span[0] * view.span[1] / Math.max(1, count));
    return apart < FROM_PX ? 0 : Math.max(SIZES_PX[0], Math.min(SIZES_PX[1], apart));
  }

  // Which of the points get a picture: the first in order, none over another.
  choose(points, { x, y }, view, size) {
    const chosen = [];
    const taken = new Map();
    for (const i of points) {
      const [sx, sy] = view.toScreen(x[i], y[i]);
      const [column, row] = [Math.floor(sx / size), Math.floor(sy / size)];
      if (!free(taken, column, row, sx, sy, size)) continue;
      taken.set(`${column} ${row}`, [sx, sy]);
      chosen.push({ i, sx, sy });
      if (chosen.length >= MOST) break;
    }
    this.wanted = chosen.map(({ i }) => i).filter((i) => !this.kept.has(i));
    this.fetch();
    return chosen;
  }

  fetch() {
    while (this.flying < IN_FLIGHT && this.wanted.length) {
      const i = this.wanted.shift();
      const picture = new Image();
      this.kept.set(i, picture);
      this.flying += 1;
      picture.src = thumbnail(this.ids[i]);
      picture.decode().then(() => this.loaded(), () => null).finally(() => { this.flying -= 1; this.fetch(); });
    }
    for (const i of this.kept.keys()) {
      if (this.kept.size <= REMEMBERED) break;
      this.kept.delete(i);
    }
  }

  draw(context, { i, sx, sy }, size, colour) {
    const picture = this.kept.get(i);
    const [left, top] = [sx - size / 2, sy - size / 2];
    context.save();
    context.beginPath();
    context.roundRect(left, top, size, size, size / 8);
    context.fillStyle = css(colour, 0.3);
    context.fill();
    if (picture?.complete && picture.naturalWidth) {
      context.save();
      context.clip();
      context.imageSmoothingEnabled = picture.naturalWidth >= size / 2;
      context.drawImage(picture, ...middle(picture), left, top, size, size);
      context.restore();
    }
    context.lineWidth = 2.5;
    context.strokeStyle = css(colour);
    context.stroke();
    context.restore();
  }
}

// The square in the middle of a picture.
function middle({ naturalWidth: width, naturalHeight: height }) {
  const side = Math.min(width, height);
  return [(width - side) / 2, (height - side) / 2, side, side];
}

function free(taken, column, row, sx, sy, size) {
  for (let across = -1; across <= 1; across += 1) {
    for (let down = -1; down <= 1; down += 1) {
      const other = taken.get(`${column + across} ${row + down}`);
      if (other && Math.abs(other[0] - sx) < size * 1.06 && Math.abs(other[1] - sy) < size * 1.06) return false;
    }
  }
  return true;
}
