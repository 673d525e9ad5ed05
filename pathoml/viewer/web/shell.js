// What all pages share: words, language, surround, elements, and asking the server.
import { STRINGS } from "./strings.js";

const kept = (key, otherwise) => {
  try {
    return localStorage.getItem(key) ?? otherwise;
  } catch {
    return otherwise;
  }
};
const keep = (key, value) => {
  try {
    localStorage.setItem(key, value);
  } catch {
    /* a browser that keeps nothing still shows everything */
  }
};

export const remembered = (key) => kept(`pathoml.${key}`, "");
export const remember = (key, value) => keep(`pathoml.${key}`, value);
export const language = () =>
  kept("pathoml.language", (navigator.language || "en").startsWith("de") ? "de" : "en");

export function t(key, values = {}) {
  const sentence = STRINGS[language()][key] ?? STRINGS.en[key] ?? key;
  return sentence.replace(/\{(\w+)\}/g, (_, name) => String(values[name] ?? ""));
}

// Make an element; text always as text, so that no name or note can become markup.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && name !== "list" && name !== "role" && typeof value !== "string")
      element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

export const byId = (id) => document.getElementById(id);

export const isStatic = () => Boolean(window.pathomlStatic);

export function pageAddress(page, parameters = {}, fragment = "") {
  const names = {
    cohort: ["/", "index.html"],
    slide: ["/slide", "slide.html"],
    compare: ["/compare", "compare.html"],
    reading: ["/reading", ""],
  };
  const query = new URLSearchParams(parameters).toString();
  return (
    names[page][isStatic() ? 1 : 0] + (query ? `?${query}` : "") + (fragment ? `#${fragment}` : "")
  );
}

const STATE = "x-pathoml-state";
const LOOK_EVERY_MS = 20_000;
const drawnFrom = { state: "" }; // what the study was like when this page was drawn

// The state of the study that this page was drawn from, for the addresses of pictures.
export const drawnState = () => drawnFrom.state;

function noteState(answer) {
  const now = answer.headers.get(STATE);
  if (!now) return;
  if (!drawnFrom.state) watch(now);
  else if (now !== drawnFrom.state) say(t("done_again"));
}

function watch(state) {
  drawnFrom.state = state;
  const look = async () => {
    if (document.hidden) return;
    try {
      const answer = await fetch("/api/state");
      if (answer.status === 401) say(t("started_again"));
      else noteState(answer);
    } catch {
      /* a viewer that has ended says so when something is asked of it */
    }
  };
  setInterval(look, LOOK_EVERY_MS);
  document.addEventListener("visibilitychange", look);
}

// A notice that stays until the page is loaded again.
function say(sentence) {
  if (byId("state-notice")) return;
  const load = () => location.reload();
  document
    .querySelector("header.shell")
    .after(
      make(
        "div",
        { id: "state-notice", role: "alert" },
        make("span", {}, sentence),
        make("button", { type: "button", onclick: load }, t("load_again")),
      ),
    );
}

export async function ask(address, body) {
  const headers = drawnFrom.state ? { [STATE]: drawnFrom.state } : {};
  const options =
    body === undefined
      ? { headers }
      : {
          method: "POST",
          headers: { ...headers, "content-type": "application/json", "x-pathoml": "1" },
          body: JSON.stringify(body),
        };
  let answer;
  try {
    answer = await fetch(address, options);
  } catch {
    throw new Error(t("no_server"));
  }
  noteState(answer);
  if (answer.status === 401 && drawnFrom.state) say(t("started_again"));
  if (answer.status === 409) lookAgain();
  if (!answer.ok) throw new Error((await answer.text()).trim() || t("failed"));
  return answer;
}

// A refusal may be one of a state that is no more; the state itself says so.
function lookAgain() {
  fetch("/api/state").then(noteState, () => {});
}

export function announce(sentence, isError = false) {
  const place = byId("announcements");
  place.textContent = sentence;
  place.classList.toggle("error", isError);
  clearTimeout(place.timer);
  if (sentence)
    place.timer = setTimeout(
      () => {
        place.textContent = "";
      },
      isError ? 12000 : 6000,
    );
}

function applySurround(name) {
  document.documentElement.dataset.surround = name;
}

// Draw the header and return its middle, which belongs to the page; bare, it leads nowhere.
export function drawShell(current, keysText, { bare = false } = {}) {
  document.documentElement.lang = language();
  const preferred = window.matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const surround = kept("pathoml.surround", preferred);
  applySurround(surround);
  const middle = make("div", { class: "middle" });
  const link = (page, key) =>
    make(
      "a",
      { href: pageAddress(page), "aria-current": current === page ? "page" : null },
      t(key),
    );
  const surroundButton = make(
    "button",
    {
      type: "button",
      class: "quiet",
      onclick: () => {
        const now = document.documentElement.dataset.surround === "dark" ? "light" : "dark";
        keep("pathoml.surround", now);
        applySurround(now);
        surroundButton.textContent = t(now === "dark" ? "light" : "dark");
        window.dispatchEvent(new Event("surround"));
      },
    },
    t(surround === "dark" ? "light" : "dark"),
  );
  const languageButton = make(
    "button",
    {
      type: "button",
      class: "quiet",
      lang: language() === "de" ? "en" : "de",
      onclick: () => {
        keep("pathoml.language", language() === "de" ? "en" : "de");
        location.reload();
      },
    },
    t("language"),
  );
  const keys = make(
    "dialog",
    { id: "keys", "aria-labelledby": "keys-title" },
    make("h2", { id: "keys-title" }, t("keys_title")),
    make(
      "ul",
      {},
      keysText.split(" · ").map((line) => make("li", {}, line)),
    ),
    make("form", { method: "dialog" }, make("button", {}, t("close"))),
  );
  const keysButton = make(
    "button",
    { type: "button", class: "quiet", onclick: () => keys.showModal() },
    t("help"),
  );
  const header = make(
    "header",
    { class: "shell" },
    make(
      "nav",
      { "aria-label": "pathoml" },
      bare
        ? make("span", { class: "brand" }, "pathoml")
        : make("a", { href: pageAddress("cohort"), class: "brand" }, "pathoml"),
      bare ? null : link("cohort", "cohort"),
      bare || isStatic() ? null : link("reading", "reading_room"),
    ),
    middle,
    make("div", { class: "tools" }, bare ? null : keysButton, surroundButton, languageButton),
  );
  document.body.prepend(header);
  document.body.append(
    make("footer", { class: "shell" }, t("research_only")),
    make("div", { id: "announcements", role: "status", "aria-live": "polite" }),
    keys,
  );
  window.addEventListener("keydown", (event) => {
    if (event.key === "?" && !bare && !isTyping(event)) keys.showModal();
  });
  return middle;
}

export function isTyping(event) {
  const target = event.target;
  return (
    target instanceof HTMLElement &&
    (target.isContentEditable ||
      ["TEXTAREA", "SELECT"].includes(target.tagName) ||
      (target.tagName === "INPUT" && !["range", "radio", "checkbox"].includes(target.type)) ||
      Boolean(target.closest("dialog")))
  );
}

export const number = (value, digits = 2) =>
  Number(value).toLocaleString(language(), {
    minimumFractionDigits: digits,
    maximumFractionDigits: digits,
  });

// Risk, percentile and where it lies: the same small bar on every page.
export function riskBar(patient) {
  if (patient.percentile === undefined) return make("span", { class: "risk none" }, "–");
  const position = make("span", { class: "mark" });
  position.style.left = `${patient.percentile}%`;
  return make(
    "span",
    { class: "risk" },
    make("span", { class: "track", "aria-hidden": "true" }, position),
    make("span", {}, t("risk_percentile", { p: Math.round(patient.percentile) })),
  );
}
