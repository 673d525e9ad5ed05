// Where the pages get their data from: the server, or a folder that a colleague opened from a disk.
import { ask, drawnState, isStatic } from "./shell.js";

const ARRAYS = { float32: Float32Array, int32: Int32Array, uint8: Uint8Array, int16: Int16Array };

function loadScript(address) {
  return new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = address;
    script.onload = resolve;
    script.onerror = () => reject(new Error(address));
    document.head.append(script);
  });
}

async function staticSlide(id) {
  const known = window.pathomlStatic.slides[id];
  if (!known) throw new Error(id);
  if (!known.loaded) await loadScript(`data/${known.file}.js`);
  return window.pathomlStatic.slides[id].loaded;
}

export async function loadStudy() {
  return isStatic() ? window.pathomlStatic.study : (await ask("/api/study")).json();
}

export async function loadGallery() {
  return isStatic()
    ? window.pathomlStatic.gallery
    : (await (await ask("/api/gallery")).json()).gallery;
}

export async function loadSlide(id) {
  return isStatic()
    ? (await staticSlide(id)).meta
    : (await ask(`/api/slides/${encodeURIComponent(id)}`)).json();
}

export async function loadLayers(id) {
  if (!isStatic())
    return unpack(await (await ask(`/api/slides/${encodeURIComponent(id)}/layers`)).arrayBuffer());
  const text = atob((await staticSlide(id)).layers);
  return unpack(Uint8Array.from(text, (c) => c.charCodeAt(0)).buffer);
}

// Decode what pathoml/viewer/layers.py packs.
function unpack(buffer) {
  const length = new DataView(buffer).getUint32(0, true);
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 4, length)));
  const layers = { ...header };
  for (const [name, { dtype, shape, offset }] of Object.entries(header.arrays)) {
    layers[name] = new ARRAYS[dtype](
      buffer,
      4 + length + offset,
      shape.reduce((a, b) => a * b, 1),
    );
  }
  return layers;
}

const fileInFolder = (slide, what) =>
  `images/${window.pathomlStatic.slides[slide.slide_id].file}_${what}.jpg`;

const addressOf = (kind, slide) =>
  `/${kind}/${encodeURIComponent(slide.slide_id)}/${slide.version}`;

export function thumbnailAddress(slide, withMap) {
  if (isStatic()) return fileInFolder(slide, withMap ? "map" : "thumbnail");
  return withMap
    ? `${addressOf("mini-maps", slide)}.jpg?state=${drawnState()}`
    : `${addressOf("thumbnails", slide)}.jpg`;
}

// The address of a tile of the map as a picture; in a folder only those of the galleries are there.
export function cropAddress(slide, index) {
  if (isStatic()) return fileInFolder(slide, `tile_${index}`);
  return `${addressOf("crops", slide)}/${index}.jpg?state=${drawnState()}`;
}

// What OpenSeadragon opens, and how many level-0 pixels its width stands for.
export function pixelSource(slide) {
  const [width, height] = slide.size_l0;
  if (isStatic())
    return {
      source: { type: "image", url: fileInFolder(slide, "overview") },
      width_l0: slide.cover_l0[0],
    };
  const top = Math.max(0, Math.ceil(Math.log2(Math.max(width, height))));
  const prefix = addressOf("tiles", slide);
  return {
    source: {
      width,
      height,
      tileSize: 256,
      tileOverlap: 0,
      minLevel: 8 <= top ? 8 : 0,
      maxLevel: top,
      getTileUrl: (level, x, y) => `${prefix}/${level}/${x}_${y}.jpg`,
    },
    width_l0: width,
  };
}
