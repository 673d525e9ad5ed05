// Two slides side by side, moved and zoomed together in micrometres, coloured on one scale.
import { DEFAULTS, drawControls, drawLegend, settingsFromFragment } from "./controls.js";
import { Raster } from "./raster.js";
import { announce, byId, drawShell, isTyping, make, pageAddress, riskBar, t } from "./shell.js";
import { loadLayers, loadSlide, loadStudy } from "./source.js";
import { magnificationButtons, Stage, stageKey } from "./stage.js";

// Remember how the two stand to each other; from then on both move by the same micrometres.
function setAnchor(page) {
  page.anchor = page.sides.map(({ stage }) => stage.centre());
}

function follow(page, from) {
  const { sides, anchor } = page;
  if (!page.together || page.following || sides.some(({ slide }) => !slide.mpp)) return;
  page.following = true;
  const lead = sides[from];
  const other = sides[1 - from];
  const [x, y] = lead.stage.centre();
  const umX = (x - anchor[from][0]) * lead.slide.mpp;
  const umY = (y - anchor[from][1]) * lead.slide.mpp;
  const target = anchor[1 - from];
  const umPerPixel = lead.slide.mpp / lead.stage.zoomRatio();
  other.stage.moveTo(target[0] + umX / other.slide.mpp, target[1] + umY / other.slide.mpp, {
    ratio: other.slide.mpp / umPerPixel,
    immediately: true,
  });
  if (other.stage.viewport.getRotation() !== lead.stage.viewport.getRotation())
    other.stage.viewport.setRotation(lead.stage.viewport.getRotation(true), true);
  other.stage.viewer.forceRedraw();
  page.following = false;
}

function redraw({ study, sides, settings }) {
  for (const { stage, raster, slide } of sides) {
    if (!raster) continue;
    const layer = raster.available().includes(settings.layer) ? settings.layer : "none";
    stage.map.opacity = settings.opacity;
    stage.map.visible = settings.visible && layer !== "none";
    const grey = slide.warnings.includes("unfaithful") && layer === "contribution";
    if (layer === "none") stage.map.draw();
    else
      stage.map.show(
        raster.grid(layer),
        raster.colour({ ...settings, layer, grey }),
        settings.outline,
      );
  }
  const shown = sides.find(({ raster }) => raster?.available().includes(settings.layer));
  if (shown) drawLegend(byId("legend"), settings, shown.raster, { phenotypes: study.phenotypes });
}

function chooser(study, side, current) {
  const select = make(
    "select",
    {
      "aria-label": t(side),
      onchange: () => {
        const parameters = new URLSearchParams(location.search);
        parameters.set(side, select.value);
        location.search = parameters;
      },
    },
    study.patients.map((p) =>
      make(
        "optgroup",
        { label: p.patient_id },
        p.slides.map((s) =>
          make(
            "option",
            { value: s.slide_id, selected: s.slide_id === current },
            `${s.slide_id} · ${t(s.specimen)}`,
          ),
        ),
      ),
    ),
  );
  return select;
}

async function openSide(study, side, id) {
  const slide = await loadSlide(id);
  const coming = loadLayers(id).catch(() => null);
  const stage = new Stage(byId(side), slide);
  byId(`${side}-head`).replaceChildren(
    chooser(study, side, id),
    make(
      "a",
      { href: pageAddress("slide", { id }) },
      `${slide.patient.patient_id} · ${t(slide.specimen)}`,
    ),
    riskBar(slide.patient),
  );
  await stage.opened.catch(() => announce(t("no_pixels"), true));
  const layers = await coming;
  return { slide, stage, raster: layers ? new Raster(layers, study.scale, slide.bag_tiles) : null };
}

function startTogether(page) {
  const { sides } = page;
  const calibrated = sides.every(({ slide }) => slide.mpp);
  byId("together-note").textContent = calibrated ? t("shared_scale") : t("not_synchronised");
  if (calibrated) {
    // both whole, at the coarser of the two scales
    const umPerPixel = Math.max(
      ...sides.map(({ slide, stage }) => slide.mpp / stage.zoomRatio(false)),
    );
    for (const { slide, stage } of sides) {
      stage.viewport.goHome(true);
      stage.setZoomRatio(slide.mpp / umPerPixel, true);
    }
  }
  setAnchor(page);
  sides.forEach(({ stage }, i) => {
    for (const event of ["pointerdown", "wheel", "pointerenter"])
      stage.element.addEventListener(
        event,
        () => {
          page.leading = i;
        },
        { capture: true, passive: true },
      );
    stage.viewer.addHandler("update-viewport", () => {
      if (page.leading === i) follow(page, i);
    });
    stage.viewer.addHandler("resize", () => follow(page, page.leading));
  });
}

async function start() {
  const middle = drawShell("compare", t("keys_slide"));
  const parameters = new URLSearchParams(location.search);
  const study = await loadStudy();
  document.title = `${t("side_by_side")} · pathoml`;
  const settings = {
    ...settingsFromFragment(new URLSearchParams(location.hash.slice(1))),
    scale: DEFAULTS.scale,
  };
  const all = study.patients.flatMap((p) => p.slides);
  const sides = await Promise.all([
    openSide(study, "left", parameters.get("left") ?? all[0].slide_id),
    openSide(study, "right", parameters.get("right") ?? (all[1] ?? all[0]).slide_id),
  ]);
  window.stages = sides.map(({ stage }) => stage);
  const page = { study, sides, settings, together: true, following: false, leading: 0 };
  startTogether(page);
  const check = make("input", {
    type: "checkbox",
    id: "together",
    checked: true,
    onchange: () => {
      page.together = check.checked;
      if (page.together) setAnchor(page);
    },
  });
  middle.append(
    magnificationButtons(sides[0].stage),
    make("label", { class: "check" }, check, make("span", {}, t("synchronised"))),
  );
  const names = [
    ...new Set(sides.flatMap(({ raster }) => (raster ? raster.available() : ["none"]))),
  ];
  if (!names.includes(settings.layer)) settings.layer = names[0]; // no map: what tiles there are
  drawControls(byId("controls"), settings, names, () => redraw(page));
  // one shared scale is the point of this page
  byId("controls").querySelector(".choice.scale").remove();
  redraw(page);
  window.addEventListener("keydown", (event) => {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.toLowerCase() === "c") location.href = pageAddress("cohort");
    else if (event.key.toLowerCase() === "m") {
      settings.visible = !settings.visible;
      byId("controls").querySelector("[name=visible]").checked = settings.visible;
      redraw(page);
    } else stageKey(sides[page.leading].stage, event);
  });
  document.documentElement.dataset.ready = "yes";
}

start().catch((error) => announce(error.message, true));
