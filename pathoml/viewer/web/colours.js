// Tables of 256 colours with alpha, so that colouring a map is one look-up a tile.
import { CIVIDIS, VIRIDIS } from "./colour_tables.js";

const RAISES = [230, 138, 0];
const LOWERS = [0, 90, 200]; // orange and blue: told apart by everyone, and from H&E
const STEPS = 256;
const UNFAITHFUL = [110, 110, 110];
export const PHENOTYPES = [
  [0, 114, 178],
  [230, 159, 0],
  [0, 158, 115],
  [204, 121, 167],
  [86, 180, 233],
  [213, 94, 0],
  [240, 228, 66],
  [90, 60, 160],
  [60, 60, 60],
  [160, 120, 60],
  [120, 200, 60],
  [200, 40, 90],
]; // Okabe & Ito, then further ones
export const FLAG_COLOURS = [
  [0, 158, 115],
  [204, 40, 140],
  [86, 120, 233],
  [213, 94, 0],
  [150, 110, 0],
  [60, 60, 60],
  [130, 50, 130],
];
export const CLEAN_COLOUR = [120, 130, 140];

function sequential(hexadecimal) {
  const at = (i, c) => parseInt(hexadecimal.slice(i * 6 + c * 2, i * 6 + c * 2 + 2), 16);
  const last = hexadecimal.length / 6 - 1;
  const table = new Uint8ClampedArray(STEPS * 4);
  for (let s = 0; s < STEPS; s++) {
    const place = (s / (STEPS - 1)) * last;
    const low = Math.floor(place);
    const high = Math.min(low + 1, last);
    const part = place - low;
    for (let c = 0; c < 3; c++) table[s * 4 + c] = at(low, c) * (1 - part) + at(high, c) * part;
    // alpha by value: what is weak leaves the tissue in sight
    table[s * 4 + 3] = 255 * (0.25 + 0.75 * (s / (STEPS - 1)));
  }
  return table;
}

function diverging(raises, lowers) {
  const table = new Uint8ClampedArray(STEPS * 4);
  for (let s = 0; s < STEPS; s++) {
    const value = (s / (STEPS - 1)) * 2 - 1;
    const hue = value > 0 ? raises : lowers;
    for (let c = 0; c < 3; c++) table[s * 4 + c] = hue[c];
    // zero is transparent: neutral is the tissue itself
    table[s * 4 + 3] = 255 * Math.abs(value) ** 0.8;
  }
  return table;
}

const TABLES = {
  diverging: diverging(RAISES, LOWERS),
  viridis: sequential(VIRIDIS),
  cividis: sequential(CIVIDIS),
  grey: diverging(UNFAITHFUL, UNFAITHFUL),
};

// Packed as the browser stores pixels, little-endian ABGR.
const PACKED = Object.fromEntries(
  Object.entries(TABLES).map(([name, table]) => [name, new Uint32Array(table.buffer)]),
);

export const colourTable = (name) => PACKED[name];
export const packColour = ([r, g, b], alpha = 255) =>
  ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
export const cssColour = ([r, g, b]) => `rgb(${r}, ${g}, ${b})`;

// The bar of a legend.
export function drawBar(canvas, name) {
  const table = TABLES[name];
  canvas.width = STEPS;
  canvas.height = 1;
  const context = canvas.getContext("2d");
  const image = context.createImageData(STEPS, 1);
  for (let s = 0; s < STEPS; s++) {
    const alpha = table[s * 4 + 3] / 255;
    for (let c = 0; c < 3; c++)
      image.data[s * 4 + c] = 255 * (1 - alpha) + table[s * 4 + c] * alpha; // on white, as on glass
    image.data[s * 4 + 3] = 255;
  }
  context.putImageData(image, 0, 0);
}
