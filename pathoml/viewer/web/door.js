// The page that asks who is there, before anything of a study is shown.
import { announce, ask, byId, drawShell, make, t } from "./shell.js";

// People paste what they were sent: the whole address as well as its token.
function tokenIn(text) {
  try {
    return new URL(text).searchParams.get("token") ?? text;
  } catch {
    return text;
  }
}

function start() {
  drawShell("", t("keys_cohort"), { bare: true });
  document.title = `${t("door_title")} · pathoml`;
  const token = make("input", {
    type: "password",
    id: "token",
    autocomplete: "off",
    required: true,
  });
  byId("door").replaceChildren(
    make("h1", {}, t("door_title")),
    make("p", {}, t("door_lead")),
    make("label", {}, t("door_token"), token),
    make("button", { type: "submit", class: "primary" }, t("door_enter")),
  );
  byId("door").addEventListener("submit", (event) => {
    event.preventDefault();
    ask("/api/door", { token: tokenIn(token.value.trim()) })
      .then(() => {
        history.replaceState(null, "", location.pathname + withoutToken() + location.hash);
        location.reload(); // to go to the same address with a fragment would only scroll
      })
      .catch((error) => announce(error.message, true));
  });
  token.focus();
  document.documentElement.dataset.ready = "yes";
}

function withoutToken() {
  const query = new URLSearchParams(location.search);
  query.delete("token");
  return query.size ? `?${query}` : "";
}

start();
