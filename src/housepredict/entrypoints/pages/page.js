// The home page: loads each part separately, and asks for the token if a part needs one.
import { fewEstimates, showAccuracy, showDrift } from "./accuracy.js";
import { setToken } from "./asking.js";
import { el, find } from "./drawing.js";
import { predicting } from "./predicting.js";
import { showRecent } from "./recent.js";
import { showTrainings, training } from "./training.js";

const PARTS = { recent: showRecent, accuracy: showAccuracy, drift: showDrift, closed: showTrainings };

/** Load a part. Returns the refusal if the part needs a token, else null. */
async function load(id) {
  if (!find(id)) return null;
  try {
    await PARTS[id]();
    return null;
  } catch (refusal) {
    find(id).replaceChildren(el("p", { class: "soft" }, refusal.locked ? "Enter the service token to see this." : refusal.message));
    return refusal.locked ? refusal : null;
  }
}

async function loadAll() {
  const refusals = await Promise.all(Object.keys(PARTS).map(load));
  const locked = refusals.some(Boolean);
  find("access").hidden = !locked;
  return locked;
}

function unlocking() {
  const error = find("token-error");
  find("access").addEventListener("submit", async event => {
    event.preventDefault();
    setToken(find("token").value.trim());
    const locked = await loadAll();
    error.textContent = locked ? "Wrong token." : "";
    error.hidden = !locked;
    if (locked) find("token").focus();
    else find("training-title").focus();
  });
}

predicting(() => {
  load("recent");
  if (fewEstimates) load("drift");
});
training();
unlocking();
loadAll();
