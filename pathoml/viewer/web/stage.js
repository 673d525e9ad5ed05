// One slide on the screen: OpenSeadragon, magnification in the pathologist's terms, scale bar, and the map above it.
import { MapLayer } from "./map_layer.js";
import { pixelSource } from "./source.js";
import { make, number, t } from "./shell.js";

const MAGNIFICATIONS = [1.25, 2.5, 5, 10, 20, 40];
const UM_AT_1X = 10; // micrometres a screen pixel at 1x: 40x is 0.25
const BAR_SHARE = 0.2; // of the width, at most
const ROUND = [1, 2, 5];

export class Stage {
  constructor(element, slide) {
    this.slide = slide;
    this.element = element;
    const { source, width_l0 } = pixelSource(slide);
    this.widthL0 = width_l0;
    const drawer = new URLSearchParams(location.search).get("drawer") || "canvas"; // canvas: the same on every machine, also without a GPU
    this.viewer = new OpenSeadragon({
      element, tileSources: source, drawer, showNavigationControl: false, showNavigator: false, animationTime: 0.4, springStiffness: 10, blendTime: 0,
      immediateRender: true, imageLoaderLimit: 12, maxImageCacheCount: 400, minZoomImageRatio: 0.5, maxZoomPixelRatio: 16, visibilityRatio: 0.2,
      gestureSettingsMouse: { clickToZoom: false, dblClickToZoom: true }, zoomPerScroll: 1.3, crossOriginPolicy: false, silenceMultiImageWarnings: true,
    });
    this.viewer.addHandler("canvas-key", (event) => { event.preventDefaultAction = true; }); // keys belong to the page
    this.map = new MapLayer(this.viewer, this.widthL0);
    this.bar = make("div", { class: "scale-bar" }, make("span", { class: "line" }), make("span", { class: "length" }));
    this.zoomLabel = make("div", { class: "zoom-label", "aria-live": "off" });
    element.append(this.bar, this.zoomLabel);
    this.viewer.addHandler("update-viewport", () => this.drawScale());
    this.viewer.addHandler("open", () => this.drawScale());
    this.opened = new Promise((resolve, reject) => { this.viewer.addOnceHandler("open", resolve); this.viewer.addOnceHandler("open-failed", (e) => reject(new Error(e.message))); });
  }

  get viewport() { return this.viewer.viewport; }

  // Screen pixels a level-0 pixel: 1 is native.
  zoomRatio(current = true) { return (this.viewport.getZoom(current) * this.viewport.getContainerSize().x) / this.widthL0; }

  setZoomRatio(ratio, immediately = false) {
    this.viewport.zoomTo((ratio * this.widthL0) / this.viewport.getContainerSize().x, null, immediately);
  }

  magnification() { return this.slide.mpp ? (UM_AT_1X / this.slide.mpp) * this.zoomRatio() : null; }

  setMagnification(times) {
    if (this.slide.mpp) this.setZoomRatio((times * this.slide.mpp) / UM_AT_1X);
    else this.setZoomRatio(times / MAGNIFICATIONS.at(-1)); // without a scale 40 means one to one
    this.viewport.applyConstraints();
  }

  isDigitalZoom() { return this.zoomRatio() > 1.01; }

  centre() {
    const point = this.viewport.getCenter(true);
    return [point.x * this.widthL0, point.y * this.widthL0];
  }

  moveTo(x, y, { ratio, immediately = false } = {}) {
    if (ratio) this.setZoomRatio(ratio, immediately);
    this.viewport.panTo(new OpenSeadragon.Point(x / this.widthL0, y / this.widthL0), immediately);
  }

  pan(dx, dy) { this.viewport.panBy(this.viewport.deltaPointsFromPixels(new OpenSeadragon.Point(dx, dy))); }

  zoomBy(factor) { this.viewport.zoomBy(factor); this.viewport.applyConstraints(); }

  whole() { this.viewport.setRotation(0); this.viewport.goHome(); }

  drawScale() {
    const ratio = this.zoomRatio(), mpp = this.slide.mpp, [line, length] = this.bar.children;
    if (!mpp) {
      line.hidden = true; length.textContent = t("uncalibrated"); this.zoomLabel.textContent = this.isDigitalZoom() ? t("digital_zoom") : "";
      return;
    }
    const umPerPixel = mpp / ratio, most = this.viewport.getContainerSize().x * BAR_SHARE * umPerPixel, power = 10 ** Math.floor(Math.log10(most));
    const um = Math.max(...ROUND.map((r) => r * power).filter((v) => v <= most));
    line.style.width = `${um / umPerPixel}px`;
    line.dataset.um = String(um);
    length.textContent = um >= 1000 ? `${number(um / 1000, 0)} mm` : `${number(um, um < 1 ? 1 : 0)} µm`;
    const times = this.magnification();
    this.zoomLabel.textContent = `${number(times, times < 10 ? 1 : 0)}×` + (this.isDigitalZoom() ? ` · ${t("digital_zoom")}` : "");
    this.zoomLabel.classList.toggle("digital", this.isDigitalZoom());
  }
}

// Buttons 1.25x to 40x; those past native say so.
export function magnificationButtons(stage) {
  const group = make("div", { class: "magnifications", role: "group", "aria-label": t("magnification") });
  for (const times of MAGNIFICATIONS) {
    const past = stage.slide.mpp && (times * stage.slide.mpp) / UM_AT_1X > 1.01;
    const button = make("button", { type: "button", class: past ? "past" : null, title: past ? t("digital_zoom") : null, onclick: () => stage.setMagnification(times) }, `${number(times, times === 1.25 ? 2 : times === 2.5 ? 1 : 0)}×`);
    group.append(button);
  }
  return group;
}

// The keys that every page with a slide understands; returns whether the key was one.
export function stageKey(stage, event, { numbers = true } = {}) {
  const step = 120;
  const moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
  if (event.target instanceof HTMLInputElement && moves[event.key]) return false; // sliders and radio buttons keep their arrows
  if (moves[event.key]) stage.pan(...moves[event.key]);
  else if (event.key === "+" || event.key === "=") stage.zoomBy(1.5);
  else if (event.key === "-") stage.zoomBy(1 / 1.5);
  else if (event.key === "0") stage.whole();
  else if (event.key.toLowerCase() === "r") stage.viewport.setRotation((stage.viewport.getRotation() + (event.shiftKey ? 270 : 90)) % 360);
  else if (numbers && event.key >= "1" && event.key <= "6") stage.setMagnification(MAGNIFICATIONS[Number(event.key) - 1]);
  else return false;
  event.preventDefault();
  return true;
}
