// The cohort page: patients by risk, their slides as stamps with maps, and the cohort's gallery.
import {
  announce,
  byId,
  drawShell,
  isTyping,
  make,
  number,
  pageAddress,
  remember,
  remembered,
  riskBar,
  t,
} from "./shell.js";
import { cropAddress, loadGallery, loadStudy, thumbnailAddress } from "./source.js";

const STEP = 40; // patients drawn at once; the rest follow while the first are being looked at

function slideCard(slide, withMaps) {
  const picture = make("img", {
    src: thumbnailAddress(slide, withMaps),
    alt: "",
    loading: "lazy",
    decoding: "async",
    width: 180,
    height: 130,
  });
  const notes = slide.warnings.map((name) => make("span", { class: "note" }, t(`flag_${name}`)));
  return make(
    "a",
    {
      class: "slide-card",
      href: pageAddress("slide", { id: slide.slide_id }),
      "data-slide": slide.slide_id,
    },
    make("span", { class: "picture" }, picture),
    make("span", { class: "name" }, slide.slide_id),
    make("span", { class: "small" }, `${t(slide.specimen)} · ${t("tiles", { n: slide.n_tiles })}`),
    notes,
  );
}

function patientRow(patient, place, withMaps) {
  const group = patient.score_group
    ? make(
        "span",
        { class: `group ${patient.score_group}`, title: t("group_note") },
        t(patient.score_group),
      )
    : null;
  return make(
    "li",
    { class: "patient", "data-patient": patient.patient_id },
    make(
      "div",
      { class: "who" },
      make("span", { class: "rank" }, String(place)),
      make("h2", {}, patient.patient_id),
      make("p", { class: "small" }, patient.centre),
      riskBar(patient),
      make(
        "p",
        { class: "small" },
        patient.score_sd === undefined
          ? ""
          : t("score", { s: number(patient.score_sd), r: number(patient.log_risk) }),
        " ",
        group,
      ),
      patient.slides.length > 1
        ? make(
            "a",
            {
              class: "small",
              href: pageAddress("compare", {
                left: patient.slides[0].slide_id,
                right: patient.slides[1].slide_id,
              }),
            },
            t("side_by_side"),
          )
        : null,
    ),
    make(
      "div",
      { class: "slides" },
      patient.slides.map((slide) => slideCard(slide, withMaps)),
    ),
  );
}

function matches(patient, filters) {
  const text = filters.search.toLowerCase();
  const slideFits = (s) =>
    (!filters.specimen || s.specimen === filters.specimen) &&
    (!filters.flag ||
      (filters.flag === "any"
        ? s.warnings.length > 0
        : filters.flag === "none"
          ? s.warnings.length === 0
          : s.warnings.includes(filters.flag)));
  return (
    (!filters.centre || patient.centre === filters.centre) &&
    patient.slides.some(slideFits) &&
    (!text ||
      patient.patient_id.toLowerCase().includes(text) ||
      patient.slides.some((s) => s.slide_id.toLowerCase().includes(text)))
  );
}

function drawPatients(page) {
  const { study, filters, withMaps } = page;
  const rows = (patients) =>
    patients.map(([patient, place]) => patientRow(patient, place, withMaps));
  const shown = study.patients
    .map((patient, i) => [patient, i + 1])
    .filter(([patient]) => matches(patient, filters));
  byId("count").textContent = t("patients_shown", {
    shown: shown.length,
    all: study.patients.length,
  });
  const list = byId("patients");
  list.replaceChildren(...rows(shown.slice(0, STEP)));
  if (!shown.length) list.append(make("li", { class: "empty" }, t("no_match")));
  page.round += 1;
  const drawn = page.round;
  const more = (from) => {
    if (from >= shown.length || drawn !== page.round) return;
    list.append(...rows(shown.slice(from, from + STEP)));
    setTimeout(() => more(from + STEP), 16);
  };
  setTimeout(() => more(STEP), 60);
}

function select(id, label, options, changed) {
  return make(
    "label",
    {},
    make("span", {}, label),
    make(
      "select",
      { id, onchange: (event) => changed(event.target.value) },
      options.map(([value, text]) => make("option", { value }, text)),
    ),
  );
}

function drawFilters(page) {
  const { study } = page;
  const centres = [...new Set(study.patients.map((p) => p.centre))].sort();
  const slides = study.patients.flatMap((p) => p.slides);
  const specimens = [...new Set(slides.map((s) => s.specimen))];
  const warnings = [...new Set(slides.flatMap((s) => s.warnings))];
  const refresh = (name) => (value) => {
    page.filters[name] = value;
    drawPatients(page);
  };
  const search = make("input", {
    type: "search",
    id: "search",
    placeholder: t("search"),
    "aria-label": t("search"),
    oninput: (event) => refresh("search")(event.target.value.trim()),
  });
  const maps = make(
    "label",
    { class: "check" },
    make("input", {
      type: "checkbox",
      id: "maps",
      checked: page.withMaps,
      onchange: (event) => {
        page.withMaps = event.target.checked;
        remember("maps", page.withMaps ? "yes" : "no");
        drawPatients(page);
      },
    }),
    make("span", {}, t("maps")),
  );
  byId("filters").replaceChildren(
    search,
    select(
      "centre",
      t("filter_centre"),
      [["", t("all_centres")], ...centres.map((c) => [c, c])],
      refresh("centre"),
    ),
    select(
      "specimen",
      t("filter_specimen"),
      [["", t("all_specimens")], ...specimens.map((s) => [s, t(s)])],
      refresh("specimen"),
    ),
    select(
      "flag",
      t("filter_flag"),
      [
        ["", t("all_flags")],
        ["any", t("with_warnings")],
        ["none", t("without_warnings")],
        ...warnings.map((w) => [w, t(`flag_${w}`)]),
      ],
      refresh("flag"),
    ),
    maps,
  );
}

function galleryTile(tile) {
  const sign = tile.contribution > 0 ? "+" : "−";
  const said = `${tile.patient_id} · ${sign}${number(Math.abs(tile.contribution))}`;
  return make(
    "a",
    { href: pageAddress("slide", { id: tile.slide_id }, `tile=${tile.index}`) },
    make("img", {
      src: cropAddress(tile, tile.index),
      alt: "",
      loading: "lazy",
      width: 112,
      height: 112,
    }),
    make("span", { class: "small" }, said),
  );
}

async function drawGallery() {
  const gallery = await loadGallery();
  const place = byId("gallery");
  place.replaceChildren(
    make("p", {}, t("gallery_note")),
    ...["raises", "lowers", "control"].map((kind) =>
      make(
        "section",
        { class: kind },
        make("h2", {}, t(`gallery_${kind}`)),
        make(
          "ul",
          { class: "tiles" },
          gallery[kind].map((tile) => make("li", {}, galleryTile(tile))),
        ),
      ),
    ),
  );
}

function show(tab) {
  for (const name of ["patients", "gallery"]) {
    byId(`${name}-panel`).hidden = name !== tab;
    byId(`${name}-tab`).setAttribute("aria-selected", String(name === tab));
  }
  if (tab === "gallery" && !byId("gallery").childElementCount)
    drawGallery().catch((error) => announce(error.message, true));
}

function moveFocus(step) {
  const cards = [...document.querySelectorAll(".slide-card")];
  const place = cards.indexOf(document.activeElement);
  const next = cards[Math.max(0, Math.min(cards.length - 1, place + step))];
  if (next) {
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }
}

async function start() {
  drawShell("cohort", t("keys_cohort"));
  const study = await loadStudy();
  const page = {
    study,
    filters: { centre: "", specimen: "", flag: "", search: "" },
    withMaps: remembered("maps") !== "no",
    round: 0, // how often the patients were drawn; an older round's rest is not drawn any more
  };
  document.title = `${t("cohort")} · pathoml`;
  byId("lead").textContent = t("cohort_lead");
  byId("endpoint").textContent = `${study.endpoint} · ${t("higher_earlier")}`;
  for (const problem of study.problems) byId("problems").append(make("p", {}, problem));
  const tab = (name) =>
    make(
      "button",
      {
        type: "button",
        role: "tab",
        id: `${name}-tab`,
        "aria-controls": `${name}-panel`,
        onclick: () => show(name),
      },
      t(`tab_${name}`),
    );
  byId("tabs").replaceChildren(tab("patients"), tab("gallery"));
  drawFilters(page);
  drawPatients(page);
  show(location.hash === "#gallery" ? "gallery" : "patients");
  document.documentElement.dataset.ready = "yes";
  window.addEventListener("keydown", (event) => {
    if (isTyping(event) || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.toLowerCase() === "j" || event.key === "ArrowDown") moveFocus(1);
    else if (event.key.toLowerCase() === "k" || event.key === "ArrowUp") moveFocus(-1);
    else if (event.key === "/") byId("search").focus();
    else return;
    event.preventDefault();
  });
}

start().catch((error) => announce(error.message, true));
