// The map of one slide: numbers a tile, a raster of one pixel a tile, and which tiles a threshold
// or a region holds.
import { CLEAN_COLOUR, colourTable, FLAG_COLOURS, PHENOTYPES, packColour } from "./colours.js";

const LAYERS = ["contribution", "attention", "spread", "phenotype", "flags", "none"];

function lattice(xy, side) {
  // Tiles on one raster are drawn as one small picture; others (imported, overlapping) one by one.
  let left = Infinity;
  let top = Infinity;
  let right = -Infinity;
  let bottom = -Infinity;
  for (let i = 0; i < xy.length; i += 2) {
    left = Math.min(left, xy[i]);
    right = Math.max(right, xy[i]);
    top = Math.min(top, xy[i + 1]);
    bottom = Math.max(bottom, xy[i + 1]);
  }
  const columns = (right - left) / side + 1;
  const rows = (bottom - top) / side + 1;
  const cells = new Int32Array(xy.length / 2);
  let regular = Number.isInteger(columns) && Number.isInteger(rows) && columns * rows <= 16e6;
  for (let i = 0; regular && i < cells.length; i++) {
    const column = (xy[2 * i] - left) / side;
    const row = (xy[2 * i + 1] - top) / side;
    if (!Number.isInteger(column) || !Number.isInteger(row)) regular = false;
    else cells[i] = row * columns + column;
  }
  return { regular, left, top, columns, rows, cells, side, xy };
}

export class Raster {
  constructor(layers, limits, bagTiles) {
    this.layers = layers;
    this.limits = limits;
    this.bagTiles = bagTiles;
    this.grids = {};
    if (layers.xy) this.grids.map = lattice(layers.xy, layers.tile_l0);
    if (layers.tissue_xy) this.grids.tissue = lattice(layers.tissue_xy, layers.tissue_tile_l0);
    this.ranks = {};
    this.largest = {};
  }

  available() {
    return LAYERS.filter(
      (name) => name === "none" || (name === "flags" ? this.layers.tissue_xy : this.layers[name]),
    );
  }

  grid(layer) {
    return layer === "flags" ? this.grids.tissue : this.grids.map;
  }

  // Values of all tiles in [-1, 1] (contribution) or [0, 1] on the chosen scale.
  fractions(layer, scale) {
    const values = this.layers[layer];
    const count = values.length;
    const out = new Float32Array(count);
    const signed = layer === "contribution";
    if (scale === "percentile") {
      const rank = this.rank(layer);
      for (let i = 0; i < count; i++) out[i] = signed ? Math.sign(values[i]) * rank[i] : rank[i];
      return out;
    }
    const limit =
      scale === "cohort" && this.limits[layer]
        ? this.limits[layer] / Math.max(this.bagTiles, 1)
        : this.largestOf(layer);
    for (let i = 0; i < count; i++) out[i] = Math.max(-1, Math.min(1, values[i] / limit));
    return out;
  }

  largestOf(layer) {
    if (this.largest[layer] === undefined)
      this.largest[layer] = this.layers[layer].reduce(
        (most, v) => Math.max(most, Math.abs(v)),
        1e-12,
      );
    return this.largest[layer];
  }

  // The value that full colour stands for, as a pathologist may compare it: times the tiles of the
  // patient.
  limitShown(layer, scale) {
    return scale === "cohort" && this.limits[layer]
      ? this.limits[layer]
      : this.largestOf(layer) * this.bagTiles;
  }

  rank(layer) {
    if (!this.ranks[layer]) {
      const values = this.layers[layer];
      const order = Float32Array.from(values, Math.abs);
      const index = Uint32Array.from(order.keys()).sort((a, b) => order[a] - order[b]);
      const rank = new Float32Array(values.length);
      index.forEach((tile, place) => {
        rank[tile] = (place + 1) / values.length;
      });
      this.ranks[layer] = rank;
    }
    return this.ranks[layer];
  }

  // Colour the tiles: one packed colour a tile, 0 where nothing is drawn. This is all that a
  // control costs.
  colour({ layer, scale, colours, threshold, grey }) {
    if (layer === "flags") return this.flagColours();
    if (layer === "phenotype")
      return Uint32Array.from(this.layers.phenotype, (p) =>
        p < 0 ? 0 : packColour(PHENOTYPES[p % PHENOTYPES.length], 210),
      );
    const key = `${layer}/${scale}`;
    if (this.lastKey !== key) {
      this.lastFractions = this.fractions(layer, scale);
      this.lastKey = key;
    }
    const fraction = this.lastFractions;
    const signed = layer === "contribution";
    const table = colourTable(
      grey ? "grey" : colours === "diverging" && !signed ? "viridis" : colours,
    );
    const packed = new Uint32Array(fraction.length);
    for (let i = 0; i < fraction.length; i++) {
      const value = fraction[i];
      const strength = value < 0 ? -value : value;
      if (strength < threshold) continue;
      packed[i] = table[signed || grey ? ((value + 1) * 127.5) | 0 : (value * 255) | 0];
    }
    return packed;
  }

  flagColours() {
    return Uint32Array.from(this.layers.tissue_flags, (flags) => {
      for (let bit = 0; bit < 8; bit++)
        if ((flags >> bit) & 1) return packColour(FLAG_COLOURS[bit % FLAG_COLOURS.length], 200);
      return packColour(CLEAN_COLOUR, 60);
    });
  }

  // The tile under a point in level-0 pixels, or -1.
  tileAt(layer, x, y) {
    const grid = this.grid(layer === "none" ? "contribution" : layer);
    if (!grid) return -1;
    if (!grid.regular) {
      for (let i = 0; i < grid.cells.length; i++) {
        const dx = x - grid.xy[2 * i];
        const dy = y - grid.xy[2 * i + 1];
        if (dx >= 0 && dy >= 0 && dx < grid.side && dy < grid.side) return i;
      }
      return -1;
    }
    if (!grid.lookup) {
      grid.lookup = new Int32Array(grid.columns * grid.rows).fill(-1);
      grid.cells.forEach((cell, i) => {
        grid.lookup[cell] = i;
      });
    }
    const column = Math.floor((x - grid.left) / grid.side);
    const row = Math.floor((y - grid.top) / grid.side);
    return column < 0 || row < 0 || column >= grid.columns || row >= grid.rows
      ? -1
      : grid.lookup[row * grid.columns + column];
  }

  // Tiles whose centre lies inside a polygon of level-0 points [[x, y], ...], by the even-odd rule.
  tilesInside(polygon) {
    const grid = this.grids.map;
    const inside = [];
    for (let i = 0; i < grid.cells.length; i++) {
      const x = grid.xy[2 * i] + grid.side / 2;
      const y = grid.xy[2 * i + 1] + grid.side / 2;
      let odd = false;
      for (let a = 0, b = polygon.length - 1; a < polygon.length; b = a++) {
        const [xa, ya] = polygon[a];
        const [xb, yb] = polygon[b];
        if (ya > y !== yb > y && x < ((xb - xa) * (y - ya)) / (yb - ya) + xa) odd = !odd;
      }
      if (odd) inside.push(i);
    }
    return inside;
  }

  // Strongest tiles and random ones, the same at every visit.
  gallery(count) {
    const values = this.layers.contribution;
    if (!values) return { raises: [], lowers: [], control: [] };
    const order = Uint32Array.from(values.keys()).sort((a, b) => values[b] - values[a]);
    let seed = 2463534242;
    const random = () => {
      seed ^= seed << 13;
      seed ^= seed >>> 17;
      seed ^= seed << 5;
      return (seed >>> 0) / 2 ** 32;
    };
    const control = new Set();
    while (control.size < Math.min(count, values.length))
      control.add(Math.floor(random() * values.length));
    const raises = [...order.slice(0, count)].filter((i) => values[i] > 0);
    const lowers = [...order.slice(-count).reverse()].filter((i) => values[i] < 0);
    return { raises, lowers, control: [...control] };
  }
}
