// The controls of a map: what they say is one plain object, which the address keeps and the raster
// colours by.
import { CLEAN_COLOUR, cssColour, drawBar, FLAG_COLOURS, PHENOTYPES } from "./colours.js";
import { make, number, t } from "./shell.js";

export const DEFAULTS = {
  layer: "contribution",
  colours: "diverging",
  scale: "cohort",
  opacity: 0.7,
  threshold: 0,
  outline: false,
  visible: true,
};
// bit i of a tile, as types.FLAGS
const FLAGS = ["pen", "dark", "out_of_focus", "fold", "bubble", "blank", "excluded_region"];
const SHORT = {
  layer: "l",
  colours: "c",
  scale: "s",
  opacity: "o",
  threshold: "t",
  outline: "b",
  visible: "v",
};

export function settingsToFragment(settings) {
  const parts = {};
  for (const [name, short] of Object.entries(SHORT)) {
    const value = settings[name];
    if (value !== DEFAULTS[name]) parts[short] = typeof value === "boolean" ? Number(value) : value;
  }
  return parts;
}

export function settingsFromFragment(parameters) {
  const settings = { ...DEFAULTS };
  for (const [name, short] of Object.entries(SHORT)) {
    const text = parameters.get(short);
    if (text === null) continue;
    if (typeof DEFAULTS[name] === "boolean") settings[name] = text === "1";
    else if (typeof DEFAULTS[name] === "number")
      settings[name] = Math.max(0, Math.min(1, Number(text) || 0));
    else if (/^[a-z]+$/.test(text)) settings[name] = text;
  }
  return settings;
}

function choice(name, legend, options, settings, changed) {
  const group = make("fieldset", { class: `choice ${name}` }, make("legend", {}, legend));
  for (const [value, label] of options) {
    group.append(
      make(
        "label",
        {},
        make("input", {
          type: "radio",
          name,
          value,
          checked: settings[name] === value,
          onchange: () => {
            settings[name] = value;
            changed(name);
          },
        }),
        make("span", {}, label),
      ),
    );
  }
  return group;
}

function slider(name, label, settings, changed) {
  const shown = make("output", {}, `${Math.round(settings[name] * 100)} %`);
  const input = make("input", {
    type: "range",
    min: "0",
    max: "100",
    value: String(Math.round(settings[name] * 100)),
    id: `control-${name}`,
    oninput: () => {
      settings[name] = Number(input.value) / 100;
      shown.textContent = `${input.value} %`;
      changed(name);
    },
  });
  return make("div", { class: "slider" }, make("label", { for: input.id }, label), input, shown);
}

export function drawControls(place, settings, layers, changed) {
  const check = (name, label) =>
    make(
      "label",
      { class: "check" },
      make("input", {
        type: "checkbox",
        name,
        checked: settings[name],
        onchange: (event) => {
          settings[name] = event.target.checked;
          changed(name);
        },
      }),
      make("span", {}, label),
    );
  place.replaceChildren(
    check("visible", t("toggle_map")),
    choice(
      "layer",
      t("layer"),
      layers.map((name) => [name, t(`layer_${name}`)]),
      settings,
      changed,
    ),
    slider("opacity", t("opacity"), settings, changed),
    slider("threshold", t("threshold"), settings, changed),
    check("outline", t("outline")),
    choice(
      "colours",
      t("colours"),
      ["diverging", "viridis", "cividis"].map((name) => [name, t(`colours_${name}`)]),
      settings,
      changed,
    ),
    choice(
      "scale",
      t("scale"),
      ["cohort", "raw", "percentile"].map((name) => [name, t(`scale_${name}`)]),
      settings,
      changed,
    ),
  );
}

// What the colours mean, in words and with the numbers at the ends of the bar.
export function drawLegend(place, settings, raster, { phenotypes = [], grey = false } = {}) {
  const { layer, scale } = settings;
  const parts = [make("p", {}, t(`legend_${layer}`))];
  if (layer === "flags")
    parts.push(
      swatches([
        [CLEAN_COLOUR, t("clean")],
        ...flagsPresent(raster).map((bit) => [
          FLAG_COLOURS[bit % FLAG_COLOURS.length],
          t(`flag_${FLAGS[bit]}`),
        ]),
      ]),
    );
  else if (layer === "phenotype") {
    const seen = [...new Set(raster.layers.phenotype)].filter((p) => p >= 0).sort((a, b) => a - b);
    const named = (p) => {
      const row = phenotypes.find((r) => String(r.phenotype) === String(p));
      return row?.name ? `${p} · ${row.name}` : String(p);
    };
    parts.push(swatches(seen.map((p) => [PHENOTYPES[p % PHENOTYPES.length], named(p)])));
  } else if (layer !== "none") {
    const signed = layer === "contribution";
    const canvas = make("canvas", { class: "bar", "aria-hidden": "true" });
    drawBar(
      canvas,
      grey ? "grey" : settings.colours === "diverging" && !signed ? "viridis" : settings.colours,
    );
    const most = scale === "percentile" ? "100 %" : number(raster.limitShown(layer, scale), 2);
    const ends = signed
      ? [`${t("lowers")} −${most}`, "0", `${t("raises")} +${most}`]
      : [`${t("less")} 0`, "", `${t("more")} ${most}`];
    parts.push(
      canvas,
      make(
        "div",
        { class: "ends" },
        ends.map((text) => make("span", {}, text)),
      ),
      make("p", { class: "small" }, t(`scale_${scale}_note`)),
    );
  }
  if (layer !== "none") {
    const um = layer === "flags" ? raster.layers.tissue_tile_um : raster.layers.tile_um;
    const notes = [
      ["flags", "phenotype"].includes(layer) ? "" : t("explains_model"),
      um ? t("tile_side", { um: number(um, 0) }) : "",
    ];
    parts.push(make("p", { class: "small" }, notes.filter(Boolean).join(" ")));
  }
  place.replaceChildren(...parts);
}

function flagsPresent(raster) {
  const seen = raster.layers.tissue_flags.reduce((all, flags) => all | flags, 0);
  return FLAGS.map((_, bit) => bit).filter((bit) => (seen >> bit) & 1);
}

function swatches(rows) {
  return make(
    "ul",
    { class: "swatches" },
    rows.map(([colour, label]) => {
      const patch = make("span", { class: "patch", "aria-hidden": "true" });
      patch.style.background = cssColour(colour);
      return make("li", {}, patch, label);
    }),
  );
}
