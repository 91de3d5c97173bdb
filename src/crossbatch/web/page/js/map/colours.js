// A colour for each label, the canvas's own for the rest; as the theme has them.

const GOLDEN_TURN = 137.508; // degrees: labels next to each other in the alphabet get far hues

export function colours(count, canvas) {
  const dark = getComputedStyle(canvas).colorScheme === "dark" || isDark(rgb(getComputedStyle(canvas).backgroundColor));
  const rows = [];
  for (let label = 0; label < count; label += 1) {
    const level = label % 3;
    const lightness = dark ? [0.76, 0.68, 0.84][level] : [0.6, 0.5, 0.68][level];
    rows.push(`oklch(${lightness} ${[0.15, 0.12, 0.13][level]} ${(label * GOLDEN_TURN + 255) % 360})`);
  }
  const none = dark ? "#8b9099" : "#777b84";
  const dim = dark ? "#343941" : "#d9d7d1";
  const ground = getComputedStyle(canvas).backgroundColor;
  const ink = getComputedStyle(canvas).color;
  const [first, second, third, fourth] = read([none, dim, ground, ink]);
  return { labels: read(rows), none: first, dim: second, ground: third, ink: fourth };
}

export const css = ([red, green, blue], alpha = 1) => `rgb(${red} ${green} ${blue} / ${alpha})`;

function isDark([red, green, blue]) { return red + green + blue < 384; }
function rgb(colour) { return read([colour])[0]; }

// As the browser paints them: red, green, blue from 0 to 255.
function read(list) {
  if (!list.length) return [];
  const canvas = new OffscreenCanvas(1, 1);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return list.map((colour) => {
    context.fillStyle = colour;
    context.fillRect(0, 0, 1, 1);
    return [...context.getImageData(0, 0, 1, 1).data.slice(0, 3)];
  });
}
