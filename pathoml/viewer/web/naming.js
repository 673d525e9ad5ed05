// Naming a feature and saying how clearly it is there: the same form on the slide page and in the
// reading room.
import { announce, ask, make, remember, remembered, t } from "./shell.js";

async function suggestedNames() {
  try {
    return (await (await ask("/api/names")).json()).names;
  } catch {
    return [];
  }
}

export function drawNaming(place, { slide, phenotypes = [], rater, names, saved }) {
  let presence = 0;
  const list = make("datalist", { id: "feature-names" });
  const suggest = (all) =>
    list.replaceChildren(...all.map((name) => make("option", { value: name })));
  const name = make("input", {
    type: "text",
    id: "feature-name",
    maxlength: "120",
    autocomplete: "off",
  });
  name.setAttribute("list", "feature-names");
  const note = make("textarea", { id: "feature-note", rows: "2", maxlength: "4000" });
  const who = rater
    ? null
    : make("input", { type: "text", id: "rater", maxlength: "120", autocomplete: "off" });
  if (who) who.value = remembered("rater");
  const likert = make(
    "fieldset",
    { class: "likert" },
    make("legend", {}, t("feature_presence")),
    [1, 2, 3, 4, 5].map((value) =>
      make(
        "label",
        { title: t(`presence_${value}`) },
        make("input", {
          type: "radio",
          name: "presence",
          value: String(value),
          onchange: () => choose(value),
        }),
        make("span", {}, String(value)),
      ),
    ),
    make("span", { class: "said small" }),
  );
  const phenotype = phenotypes.length
    ? make(
        "select",
        { id: "phenotype" },
        make("option", { value: "" }, "–"),
        phenotypes.map((p) =>
          make(
            "option",
            { value: String(p.phenotype) },
            p.name ? `${p.phenotype} · ${p.name}` : String(p.phenotype),
          ),
        ),
      )
    : null;

  function choose(value) {
    presence = value;
    likert.querySelector(`input[value="${value}"]`).checked = true;
    likert.querySelector(".said").textContent = t(`presence_${value}`);
  }

  async function save(event) {
    event?.preventDefault();
    const initials = rater ?? who.value.trim();
    if (!initials) {
      announce(t("need_rater"), true);
      who?.focus();
      return;
    }
    if (!presence) {
      announce(t("need_presence"), true);
      return;
    }
    if (who) remember("rater", initials);
    try {
      const body = {
        slide,
        rater: initials,
        presence,
        name: name.value,
        note: note.value,
        phenotype: phenotype?.value ?? "",
      };
      const answer = await (await ask("/api/readings", body)).json();
      suggest(answer.names);
      announce(t("saved", { n: answer.saved }));
      form.dataset.saved = String(answer.saved);
      note.value = "";
      saved?.(answer);
    } catch (error) {
      announce(error.message, true);
    }
  }

  const form = make(
    "form",
    { class: "naming", onsubmit: save },
    rater ? null : make("h2", {}, t("name_feature")),
    who ? make("label", {}, t("your_initials"), who) : null,
    make("label", {}, t("feature_name"), name),
    list,
    likert,
    phenotype ? make("label", {}, t("phenotype"), phenotype) : null,
    make("label", {}, t("feature_note"), note),
    make("button", { type: "submit", class: "primary" }, t("save")),
  );
  place.replaceChildren(form);
  if (names) suggest(names);
  else suggestedNames().then(suggest);
  return { choose, save };
}
