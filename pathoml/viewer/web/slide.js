// The slide page: the slide, its map, what the map says of itself, a gallery, what-if and naming.
import {
  DEFAULTS,
  drawControls,
  drawLegend,
  settingsFromFragment,
  settingsToFragment,
} from "./controls.js";
import { Lasso } from "./lasso.js";
import { drawNaming } from "./naming.js";
import { Raster } from "./raster.js";
import {
  announce,
  ask,
  byId,
  drawShell,
  isStatic,
  isTyping,
  make,
  number,
  pageAddress,
  riskBar,
  t,
} from "./shell.js";
import { cropAddress, loadLayers, loadSlide, loadStudy } from "./source.js";
import { magnificationButtons, Stage, stageKey } from "./stage.js";

const TILES_IN_GALLERY = 12;

const isGrey = ({ slide, settings }) =>
  slide.warnings.includes("unfaithful") && settings.layer === "contribution";

function redraw(page, what) {
  const { study, stage, raster, settings } = page;
  if (!raster) return;
  const started = performance.now();
  stage.map.opacity = settings.opacity;
  stage.map.visible = settings.visible && settings.layer !== "none";
  if (settings.layer === "none") stage.map.draw();
  else if (what === "opacity" || what === "visible") stage.map.draw();
  else
    stage.map.show(
      raster.grid(settings.layer),
      raster.colour({ ...settings, grey: isGrey(page) }),
      settings.outline,
    );
  document.documentElement.dataset.recolourMs = (performance.now() - started).toFixed(2);
  if (what !== "opacity" && what !== "threshold")
    drawLegend(byId("legend"), settings, raster, {
      phenotypes: study.phenotypes,
      grey: isGrey(page),
    });
  keepAddress(page);
}

function keepAddress(page) {
  const { stage, settings } = page;
  clearTimeout(page.keeping);
  page.keeping = setTimeout(() => {
    const [x, y] = stage.centre();
    const rotation = stage.viewport.getRotation();
    const parts = {
      x: Math.round(x),
      y: Math.round(y),
      z: stage.zoomRatio(false).toPrecision(4),
      ...(rotation ? { r: rotation } : {}),
      ...settingsToFragment(settings),
    };
    history.replaceState(null, "", `#${new URLSearchParams(parts)}`);
  }, 150);
}

function restoreView(page, parameters) {
  const { stage } = page;
  const [x, y, z] = ["x", "y", "z"].map((name) => Number(parameters.get(name)));
  if (parameters.get("r")) stage.viewport.setRotation(Number(parameters.get("r")) || 0, true);
  if (parameters.has("tile")) jumpTo(page, Number(parameters.get("tile")), true);
  else if (parameters.has("x") && z > 0) stage.moveTo(x, y, { ratio: z, immediately: true });
}

function jumpTo({ stage, raster }, tile, immediately = false) {
  const { xy, tile_l0: side } = raster.layers;
  if (!(tile >= 0 && tile < xy.length / 2)) return;
  stage.moveTo(xy[2 * tile] + side / 2, xy[2 * tile + 1] + side / 2, {
    ratio: Math.min(1, 420 / side),
    immediately,
  });
  stage.map.mark(null, [tile], raster.grid("contribution"));
}

function drawSummary(slide, endpoint) {
  const patient = slide.patient;
  const score = { s: number(patient.score_sd), r: number(patient.log_risk) };
  const flags = slide.warnings
    .filter((w) => !["unfaithful", "no_map"].includes(w))
    .map((w) => t(`flag_${w}`))
    .join(", ");
  const faithfulness = slide.faithfulness
    ? slide.faithfulness.faithful
      ? ["good", t("faithful")]
      : ["bad", t("unfaithful")]
    : ["", t("not_checked")];
  byId("summary").replaceChildren(
    ...[
      make("h1", {}, slide.slide_id),
      make(
        "p",
        { class: "small" },
        `${patient.patient_id} · ${patient.centre} · ${t(slide.specimen)}`,
      ),
      riskBar(patient),
      make(
        "p",
        { class: "small" },
        patient.score_sd === undefined
          ? ""
          : `${endpoint}: ${t("score", score)}. ${t("higher_earlier")}`,
      ),
      slide.has_map
        ? make("p", { class: `mark-line ${faithfulness[0]}` }, faithfulness[1])
        : make("p", { class: "mark-line bad" }, slide.problem || t("no_map_yet")),
      flags
        ? make(
            "p",
            { class: "mark-line bad" },
            t("flagged_warning", { p: Math.round(slide.flagged_share * 100), flags }),
          )
        : null,
    ].filter(Boolean),
  );
}

function drawGallery(page) {
  const { slide, raster } = page;
  const kinds = raster.gallery(TILES_IN_GALLERY);
  const place = byId("gallery");
  const values = raster.layers.contribution;
  const list = make("ul", { class: "tiles" });
  const show = (kind) => {
    for (const button of tabs.children)
      button.setAttribute("aria-pressed", String(button.dataset.kind === kind));
    list.replaceChildren(
      ...kinds[kind].map((tile) => {
        const value = values[tile] * slide.bag_tiles;
        return make(
          "li",
          {},
          make(
            "button",
            { type: "button", "data-tile": String(tile), onclick: () => jumpTo(page, tile) },
            make("img", {
              src: cropAddress(slide, tile),
              alt: t("readout_tile", { i: tile }),
              loading: "lazy",
              width: 88,
              height: 88,
            }),
            make("span", { class: "small" }, signed(value)),
          ),
        );
      }),
    );
  };
  const tabs = make(
    "div",
    { class: "segments", role: "group", "aria-label": t("gallery") },
    [
      ["raises", "tiles_raise"],
      ["lowers", "tiles_lower"],
      ["control", "tiles_control"],
    ].map(([kind, key]) =>
      make("button", { type: "button", "data-kind": kind, onclick: () => show(kind) }, t(key)),
    ),
  );
  place.replaceChildren(
    make("h2", {}, t("gallery")),
    make("p", { class: "small" }, t("gallery_slide_note")),
    tabs,
    list,
  );
  show(kinds.raises.length ? "raises" : "lowers");
}

const signed = (value) => `${value < 0 ? "−" : "+"}${number(Math.abs(value))}`;

function drawReadout({ slide, stage, raster }) {
  const place = byId("readout");
  place.textContent = t("readout_hint");
  stage.viewer.canvas.addEventListener("pointermove", (event) => {
    const box = stage.viewer.canvas.getBoundingClientRect();
    const [x, y] = stage.map.toSlide(
      new OpenSeadragon.Point(event.clientX - box.left, event.clientY - box.top),
    );
    const tile = raster.tileAt("contribution", x, y);
    const { contribution, attention, spread } = raster.layers;
    if (tile < 0 || !contribution) {
      place.textContent = t("readout_none");
      return;
    }
    const parts = [
      t("readout_tile", { i: tile }),
      t("readout_contribution", { v: signed(contribution[tile] * slide.bag_tiles) }),
      t("readout_attention", { v: number(attention[tile] * slide.bag_tiles, 1) }),
    ];
    if (spread) parts.push(t("readout_spread", { v: number(spread[tile] * slide.bag_tiles) }));
    place.textContent = parts.join(" · ");
  });
}

async function askWhatIf(slide, tiles) {
  const place = byId("what-if-answer");
  if (!tiles.length) {
    place.textContent = t("what_if_none");
    return;
  }
  place.textContent = t("what_if_working");
  try {
    const answer = await (await ask("/api/what-if", { slide: slide.slide_id, tiles })).json();
    place.textContent = t("what_if_result", {
      n: answer.tiles_removed,
      a: Math.round(answer.percentile),
      b: Math.round(answer.percentile_without),
      c: number(answer.log_risk),
      d: number(answer.without),
    });
    place.dataset.without = String(answer.without);
  } catch (error) {
    place.textContent = error.message;
  }
}

// Have the patient's tiles read while the region is still being drawn, so that the answer comes at
// once.
function prepareWhatIf(page) {
  if (page.prepared) return;
  page.prepared = true;
  ask("/api/what-if", { slide: page.slide.slide_id, tiles: [] }).catch(() => {
    page.prepared = false; // the question itself will say why
  });
}

function shownTiles({ raster, settings }) {
  const packed = raster.colour({ ...settings, layer: "contribution", grey: false });
  return [...packed.keys()].filter(
    (i) => packed[i] >>> 24 > 0 && (settings.threshold > 0 || raster.layers.contribution[i] > 0),
  );
}

function drawWhatIf(page) {
  const { slide, stage, raster } = page;
  const askWithout = (polygon, tiles) => {
    stage.map.mark(polygon, tiles, raster.grid("contribution"));
    askWhatIf(slide, tiles);
  };
  const clear = () => {
    lasso.stop();
    stage.map.mark(null, null, null);
    byId("what-if-answer").textContent = "";
  };
  const lasso = new Lasso(
    stage,
    (polygon) => askWithout(polygon, raster.tilesInside(polygon)),
    () => {
      byId("what-if-draw").setAttribute("aria-pressed", String(lasso.active));
      if (lasso.active) prepareWhatIf(page);
    },
  );
  for (const event of ["pointerenter", "focusin"])
    byId("what-if").addEventListener(event, () => prepareWhatIf(page));
  byId("what-if").replaceChildren(
    make("h2", {}, t("what_if")),
    make("p", { class: "small" }, t("what_if_lead")),
    make(
      "div",
      { class: "buttons" },
      make(
        "button",
        {
          type: "button",
          id: "what-if-draw",
          "aria-pressed": "false",
          onclick: () => lasso.toggle(),
        },
        t("what_if_draw"),
      ),
      make(
        "button",
        {
          type: "button",
          id: "what-if-shown",
          onclick: () => askWithout(null, shownTiles(page)),
        },
        t("what_if_visible"),
      ),
      make("button", { type: "button", id: "what-if-clear", onclick: clear }, t("what_if_clear")),
    ),
    make("p", { id: "what-if-answer", class: "answer", role: "status" }),
    make("p", { class: "small" }, t("what_if_note")),
  );
  return lasso;
}

function drawBarOfPage({ study, slide, stage }, middle) {
  const order = study.patients.flatMap((p) => p.slides);
  const place = order.findIndex((s) => s.slide_id === slide.slide_id);
  const step = (by, key) => {
    const to = order[place + by];
    return to
      ? make(
          "a",
          {
            class: "button",
            id: by > 0 ? "next" : "previous",
            href: pageAddress("slide", { id: to.slide_id }),
            title: t(key),
            "aria-label": t(key),
          },
          by > 0 ? "›" : "‹",
        )
      : null;
  };
  const siblings = slide.patient.slides.filter((s) => s.slide_id !== slide.slide_id);
  const named = (s) =>
    siblings.filter((one) => one.specimen === s.specimen).length > 1
      ? `${t(s.specimen)} ${s.slide_id}`
      : t(s.specimen);
  const neighbour = siblings[0] ?? order[place + 1] ?? order[place - 1];
  middle.append(
    ...[step(-1, "previous"), step(1, "next")].filter(Boolean),
    magnificationButtons(stage),
    make("button", { type: "button", id: "whole", onclick: () => stage.whole() }, t("whole_slide")),
    make(
      "button",
      {
        type: "button",
        title: t("rotate"),
        "aria-label": t("rotate"),
        onclick: () => stage.viewport.setRotation((stage.viewport.getRotation() + 90) % 360),
      },
      "⟳",
    ),
    ...siblings.map((s) =>
      make("a", { class: "button", href: pageAddress("slide", { id: s.slide_id }) }, named(s)),
    ),
  );
  if (neighbour)
    middle.append(
      make(
        "a",
        {
          class: "button",
          id: "side-by-side",
          href: pageAddress("compare", { left: slide.slide_id, right: neighbour.slide_id }),
        },
        t("side_by_side"),
      ),
    );
}

function onKey(page, event) {
  const { stage, raster, settings, lasso } = page;
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const set = (name, value) => {
    settings[name] = value;
    drawControls(byId("controls"), settings, raster.available(), (what) => redraw(page, what));
    redraw(page, name);
  };
  const key = event.key.toLowerCase();
  if (key === "m") set("visible", !settings.visible);
  else if (event.key === "[")
    set("opacity", Math.max(0, Math.round(settings.opacity * 10 - 1) / 10));
  else if (event.key === "]")
    set("opacity", Math.min(1, Math.round(settings.opacity * 10 + 1) / 10));
  else if (key === "l" && lasso) lasso.toggle();
  else if (event.key === "Escape" && lasso) lasso.stop();
  else if (key === "j") byId("next")?.click();
  else if (key === "k") byId("previous")?.click();
  else if (key === "c") location.href = pageAddress("cohort");
  else {
    stageKey(stage, event);
    return;
  }
  event.preventDefault();
}

async function start() {
  const middle = drawShell("slide", t("keys_slide"));
  const id = new URLSearchParams(location.search).get("id") ?? "";
  const parameters = new URLSearchParams(location.hash.slice(1));
  const [study, slide] = await Promise.all([loadStudy(), loadSlide(id)]);
  document.title = `${slide.slide_id} · pathoml`;
  const coming = loadLayers(id).catch((error) => {
    announce(error.message, true);
    return null;
  });
  const stage = new Stage(byId("stage"), slide);
  const settings = settingsFromFragment(parameters);
  const page = {
    study,
    slide,
    stage,
    settings,
    raster: null, // until its layers have come
    lasso: null, // until there is a map to ask about
    keeping: 0, // timer until the address follows the view
    prepared: false, // whether the models have read the patient's tiles
  };
  drawSummary(slide, study.endpoint);
  drawBarOfPage(page, middle);
  window.stage = stage; // for tests and for those who look under the bonnet
  await stage.opened.catch(() => announce(t("no_pixels"), true));
  const layers = await coming;
  if (layers) {
    const raster = new Raster(layers, study.scale, slide.bag_tiles);
    const names = raster.available();
    if (!names.includes(settings.layer))
      settings.layer = names.includes(DEFAULTS.layer) ? DEFAULTS.layer : names[0];
    page.raster = raster;
    window.raster = raster;
    drawControls(byId("controls"), settings, names, (what) => redraw(page, what));
    if (layers.contribution) {
      drawGallery(page);
      if (!isStatic()) page.lasso = drawWhatIf(page);
    }
    drawReadout(page);
    restoreView(page, parameters);
    redraw(page, "layer");
  }
  if (!isStatic())
    drawNaming(byId("naming"), { slide: slide.slide_id, phenotypes: study.phenotypes });
  stage.viewer.addHandler("update-viewport", () => keepAddress(page));
  window.addEventListener("keydown", (event) => onKey(page, event));
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => announce(error.message, true));
