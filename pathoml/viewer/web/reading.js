// The reading room: one slide after the other under a code, a rating by keyboard, the map only afterwards.
import { DEFAULTS, drawLegend } from "./controls.js";
import { drawNaming } from "./naming.js";
import { Raster } from "./raster.js";
import {
  announce,
  ask,
  byId,
  drawShell,
  isTyping,
  make,
  remember,
  remembered,
  t,
} from "./shell.js";
import { loadLayers, loadSlide } from "./source.js";
import { magnificationButtons, Stage, stageKey } from "./stage.js";

let rater;
let items;
let names;
let place;
let stage;
let form;
let slide;

function drawDoor() {
  const who = make("input", {
    type: "text",
    id: "rater",
    maxlength: "120",
    autocomplete: "off",
    required: true,
  });
  who.value = remembered("rater");
  byId("desk").replaceChildren(
    make(
      "form",
      {
        class: "door",
        onsubmit: (event) => {
          event.preventDefault();
          rater = who.value.trim();
          if (rater) begin().catch((error) => announce(error.message, true));
        },
      },
      make("h1", {}, t("reading_room")),
      make("p", {}, t("room_lead")),
      make("label", {}, t("your_initials"), who),
      make("button", { type: "submit", class: "primary" }, t("room_begin")),
      make("p", { class: "small" }, make("a", { href: "/api/readings.csv" }, t("room_download"))),
    ),
  );
  who.focus();
}

async function begin() {
  remember("rater", rater);
  const room = await (await ask("/api/reading-room", { rater })).json();
  items = room.items;
  names = room.names;
  place = items.findIndex((item) => !item.done);
  if (place < 0) {
    place = items.length;
    finished();
    return;
  }
  await openItem();
}

function finished() {
  byId("desk").replaceChildren(
    make(
      "div",
      { class: "door" },
      make("h1", {}, t("room_done")),
      make("p", {}, make("a", { href: "/api/readings.csv" }, t("room_download"))),
    ),
  );
}

async function openItem() {
  const item = items[place];
  document.documentElement.dataset.ready = "no";
  stage?.viewer.destroy();
  slide = await loadSlide(item.code);
  const view = make("div", {
    id: "stage",
    class: "stage",
    tabindex: "0",
    "aria-label": t("room_item", { i: place + 1 }),
  });
  const side = make("aside", { class: "panel", "aria-label": t("reading_room") });
  byId("desk").replaceChildren(view, side);
  stage = new Stage(view, slide);
  window.stage = stage;
  const naming = make("div", {});
  const after = make("div", { id: "after", class: "card" });
  side.append(
    make(
      "section",
      { class: "card" },
      make("h1", {}, t("room_item", { i: place + 1 })),
      make(
        "p",
        { id: "progress", class: "small" },
        t("room_progress", { done: items.filter((i) => i.done).length, all: items.length }),
      ),
      item.phenotype ? make("p", {}, `${t("phenotype")} ${item.phenotype}`) : null,
      magnificationButtons(stage),
    ),
    make("section", { class: "card" }, naming),
    after,
  );
  after.append(make("p", { class: "small" }, t("map_hidden")));
  form = drawNaming(naming, {
    slide: item.code,
    rater,
    names,
    saved: (answer) => {
      names = answer.names;
      item.done = true;
      afterSaving(after);
    },
  });
  await stage.opened.catch(() => announce(t("no_pixels"), true));
  document.documentElement.dataset.ready = "yes";
}

function afterSaving(after) {
  byId("progress").textContent = t("room_progress", {
    done: items.filter((i) => i.done).length,
    all: items.length,
  });
  after.replaceChildren(
    make("p", {}, t("room_saved")),
    make(
      "div",
      { class: "buttons" },
      make(
        "button",
        { type: "button", id: "reveal", onclick: () => reveal(after) },
        t("room_reveal"),
      ),
      make(
        "button",
        { type: "button", id: "next-item", class: "primary", onclick: next },
        t("room_next"),
      ),
    ),
  );
  byId("next-item").focus();
}

async function reveal(after) {
  try {
    const seen = await loadSlide(slide.slide_id);
    const raster = new Raster(await loadLayers(slide.slide_id), {}, seen.bag_tiles || 1);
    const settings = { ...DEFAULTS, scale: "raw" };
    const legend = make("div", {});
    if (!raster.layers.contribution) {
      announce(t("no_map_yet"), true);
      return;
    }
    stage.map.opacity = settings.opacity;
    stage.map.show(raster.grid("contribution"), raster.colour(settings), false);
    drawLegend(legend, settings, raster);
    after.append(legend);
    byId("reveal").disabled = true;
  } catch (error) {
    announce(error.message, true);
  }
}

function next() {
  const later = items.findIndex((item, i) => i > place && !item.done);
  place = later >= 0 ? later : items.findIndex((item) => !item.done);
  if (place < 0) finished();
  else openItem().catch((error) => announce(error.message, true));
}

drawShell("reading", t("room_keys"));
document.title = `${t("reading_room")} · pathoml`;
drawDoor();
document.documentElement.dataset.ready = "yes";
window.addEventListener("keydown", (event) => {
  if (
    !items ||
    place >= items.length ||
    place < 0 ||
    isTyping(event) ||
    event.ctrlKey ||
    event.metaKey ||
    event.altKey
  )
    return;
  if (event.key >= "1" && event.key <= "5") form.choose(Number(event.key));
  else if (
    event.key === "Enter" &&
    !(event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement)
  )
    form.save();
  else if (event.key.toLowerCase() === "n" && items[place].done) next();
  else {
    stageKey(stage, event, { numbers: false });
    return;
  }
  event.preventDefault();
});
