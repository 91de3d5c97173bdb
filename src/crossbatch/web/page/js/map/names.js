// The names of labels, where the most of their pictures lie; the largest first, none over another or over a picture.
import { css } from "./colours.js";

const MOST = 40;
const ROOM_PX = 30; // between two lines
const LONGEST = 26;
const WIDEST = 0.16; // of the map: a label spread wider has no place

export function placesOfNames(labels, label, x, y) {
  const members = labels.map(() => []);
  label.forEach((one, i) => { if (one >= 0) members[one].push(i); });
  const middle = (values) => values.sort((a, b) => a - b)[values.length >> 1];
  return members
    .map((points, index) => {
      if (!points.length) return null;
      const at = [middle(points.map((i) => x[i])), middle(points.map((i) => y[i]))];
      const spread = middle(points.map((i) => Math.hypot(x[i] - at[0], y[i] - at[1])));
      const words = labels[index].length > LONGEST ? `${labels[index].slice(0, LONGEST - 1)}…` : labels[index];
      return { index, words, x: at[0], y: at[1], spread, count: points.length };
    })
    .filter((name) => name && name.spread < WIDEST)
    .sort((a, b) => b.count - a.count);
}

export function drawNames(context, names, view, font, colours, only, { chosen, size }) {
  const taken = [];
  context.font = `600 13px ${font}`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  context.lineJoin = "round";
  for (const name of names) {
    if (only && !only.has(name.index)) continue;
    const [sx, sy] = view.toScreen(name.x, name.y);
    if (sx < 0 || sy < 0 || sx > view.width || sy > view.height) continue;
    const half = context.measureText(name.words).width / 2 + 9;
    if (taken.some(([x, y, wide]) => Math.abs(x - sx) < wide + half && Math.abs(y - sy) < ROOM_PX)) continue;
    const room = size / 2 + ROOM_PX / 3;
    if (chosen.some((picture) => Math.abs(picture.sx - sx) < half + size / 2 && Math.abs(picture.sy - sy) < room)) continue;
    taken.push([sx, sy, half]);
    context.strokeStyle = css(colours.ground, 0.88);
    context.lineWidth = 4.5;
    context.strokeText(name.words, sx, sy);
    context.fillStyle = css(colours.ink);
    context.fillText(name.words, sx, sy);
    if (taken.length >= MOST) break;
  }
}
