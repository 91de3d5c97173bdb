// Points stamped into the pixels of a canvas: tens of thousands in a frame, without a graphics card.

const OPACITY = 0.82;

// `points`: which ones, in the order they are painted; `colourOf(i)`: red, green, blue. `radius` in pixels of the canvas.
export function stamp(image, points, { x, y }, view, ratio, radius, colourOf) {
  const { width, height, data } = image;
  const { side, cover } = disc(radius);
  const half = (side - 1) / 2;
  for (const i of points) {
    const left = Math.round(((x[i] - view.x) * view.scale + view.width / 2) * ratio - half);
    const top = Math.round(((y[i] - view.y) * view.scale + view.height / 2) * ratio - half);
    if (left < 0 || top < 0 || left + side > width || top + side > height) continue;
    const [red, green, blue] = colourOf(i);
    for (let row = 0, at = 0; row < side; row += 1) {
      let pixel = 4 * ((top + row) * width + left);
      for (let column = 0; column < side; column += 1, at += 1, pixel += 4) {
        const share = cover[at];
        if (share === 0) continue;
        data[pixel] += (red - data[pixel]) * share;
        data[pixel + 1] += (green - data[pixel + 1]) * share;
        data[pixel + 2] += (blue - data[pixel + 2]) * share;
      }
    }
  }
}

// How much of each pixel a disc covers.
function disc(radius) {
  const side = 2 * Math.ceil(radius) + 1;
  const cover = new Float32Array(side * side);
  for (let at = 0; at < cover.length; at += 1) {
    const apart = Math.hypot(at % side - (side - 1) / 2, Math.floor(at / side) - (side - 1) / 2);
    cover[at] = OPACITY * Math.max(0, Math.min(1, radius + 0.5 - apart));
  }
  return { side, cover };
}

export function clear(image, [red, green, blue]) {
  new Uint32Array(image.data.buffer).fill((255 << 24 | blue << 16 | green << 8 | red) >>> 0);
}
