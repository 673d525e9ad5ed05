// The reading room: one slide after the other under a code, a rating by keyboard, the map only
// afterwards.
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

const progress = (items) =>
  t("room_progress", { done: items.filter((item) => item.done).length, all: items.length });

const download = (room) =>
  room.blinded
    ? null
    : make("p", { class: "small" }, make("a", { href: "/api/readings.csv" }, t("room_download")));

function drawDoor(room) {
  const who = make("input", {
    type: "text",
    id: "rater",
    maxlength: "120",
    autocomplete: "off",
    required: true,
  });
  who.value = room.bound || remembered("rater");
  byId("desk").replaceChildren(
    make(
      "form",
      {
        class: "door",
        onsubmit: (event) => {
          event.preventDefault();
          room.rater = who.value.trim();
          if (room.rater) begin(room).catch((error) => announce(error.message, true));
        },
      },
      make("h1", {}, t("reading_room")),
      make("p", {}, t("room_lead")),
      room.bound
        ? make("p", { id: "bound" }, t("room_as", { rater: room.bound }))
        : make("label", {}, t("your_initials"), who),
      make("button", { type: "submit", class: "primary" }, t("room_begin")),
      download(room),
    ),
  );
  (room.bound ? byId("desk").querySelector("button") : who).focus();
}

async function begin(room) {
  if (!room.bound) remember("rater", room.rater);
  const { items, names } = await (await ask("/api/reading-room", { rater: room.rater })).json();
  const place = items.findIndex((item) => !item.done);
  Object.assign(room, { items, names, place: place < 0 ? items.length : place });
  if (place < 0) finished(room);
  else await openItem(room);
}

function finished(room) {
  byId("desk").replaceChildren(
    make("div", { class: "door" }, make("h1", {}, t("room_done")), download(room)),
  );
}

async function openItem(room) {
  const { items, place } = room;
  const item = items[place];
  document.documentElement.dataset.ready = "no";
  room.stage?.viewer.destroy();
  room.slide = await loadSlide(item.code);
  const view = make("div", {
    id: "stage",
    class: "stage",
    tabindex: "0",
    "aria-label": t("room_item", { i: place + 1 }),
  });
  const side = make("aside", { class: "panel", "aria-label": t("reading_room") });
  byId("desk").replaceChildren(view, side);
  const stage = new Stage(view, room.slide);
  room.stage = stage;
  window.stage = stage;
  const naming = make("div", {});
  const after = make("div", { id: "after", class: "card" });
  side.append(
    make(
      "section",
      { class: "card" },
      make("h1", {}, t("room_item", { i: place + 1 })),
      make("p", { id: "progress", class: "small" }, progress(items)),
      item.phenotype ? make("p", {}, `${t("phenotype")} ${item.phenotype}`) : null,
      magnificationButtons(stage),
    ),
    make("section", { class: "card" }, naming),
    after,
  );
  after.append(make("p", { class: "small" }, t("map_hidden")));
  room.form = drawNaming(naming, {
    slide: item.code,
    rater: room.rater,
    names: room.names,
    saved: (answer) => {
      room.names = answer.names;
      item.done = true;
      afterSaving(room, after);
    },
  });
  await stage.opened.catch(() => announce(t("no_pixels"), true));
  document.documentElement.dataset.ready = "yes";
}

function afterSaving(room, after) {
  byId("progress").textContent = progress(room.items);
  after.replaceChildren(
    make("p", {}, t("room_saved")),
    make(
      "div",
      { class: "buttons" },
      make(
        "button",
        { type: "button", id: "reveal", onclick: () => reveal(room, after) },
        t("room_reveal"),
      ),
      make(
        "button",
        { type: "button", id: "next-item", class: "primary", onclick: () => next(room) },
        t("room_next"),
      ),
    ),
  );
  byId("next-item").focus();
}

async function reveal(room, after) {
  try {
    const seen = await loadSlide(room.slide.slide_id);
    const raster = new Raster(await loadLayers(room.slide.slide_id), {}, seen.bag_tiles || 1);
    const settings = { ...DEFAULTS, scale: "raw" };
    const legend = make("div", {});
    if (!raster.layers.contribution) {
      announce(seen.problem || t("no_map_yet"), true);
      return;
    }
    room.stage.map.opacity = settings.opacity;
    room.stage.map.show(raster.grid("contribution"), raster.colour(settings), false);
    drawLegend(legend, settings, raster);
    after.append(legend);
    byId("reveal").disabled = true;
  } catch (error) {
    announce(error.message, true);
  }
}

function next(room) {
  const { items, place } = room;
  const later = items.findIndex((item, i) => i > place && !item.done);
  room.place = later >= 0 ? later : items.findIndex((item) => !item.done);
  if (room.place < 0) finished(room);
  else openItem(room).catch((error) => announce(error.message, true));
}

function onKey(room, event) {
  const { items, place, form, stage } = room;
  if (!items || place >= items.length || place < 0) return;
  if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
  const onButton =
    event.target instanceof HTMLButtonElement || event.target instanceof HTMLAnchorElement;
  if (event.key >= "1" && event.key <= "5") form.choose(Number(event.key));
  else if (event.key === "Enter" && !onButton) form.save();
  else if (event.key.toLowerCase() === "n" && items[place].done) next(room);
  else {
    stageKey(stage, event, { numbers: false });
    return;
  }
  event.preventDefault();
}

async function start() {
  const room = {}; // who reads, what, and which item is open
  drawShell("reading", t("room_keys"));
  document.title = `${t("reading_room")} · pathoml`;
  const { rater, blinded } = await (await ask("/api/state")).json();
  Object.assign(room, { bound: rater, blinded });
  drawDoor(room);
  document.documentElement.dataset.ready = "yes";
  window.addEventListener("keydown", (event) => onKey(room, event));
}

start().catch((error) => announce(error.message, true));
