// What the page does: each part is loaded by itself, and what is closed says so.
import { fewEstimates, showAccuracy, showDrift } from "./accuracy.js";
import { bear } from "./asking.js";
import { el, find } from "./drawing.js";
import { predicting } from "./predicting.js";
import { showRecent } from "./recent.js";
import { showTrainings, training } from "./training.js";

const PARTS = { recent: showRecent, accuracy: showAccuracy, drift: showDrift, closed: showTrainings };

/** Show a part. Gives the refusal if it takes a token. */
async function load(id) {
  if (!find(id)) return null;
  try {
    await PARTS[id]();
    return null;
  } catch (refusal) {
    find(id).replaceChildren(el("p", { class: "soft" }, refusal.locked ? "This takes the token of the service." : refusal.message));
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
  const place = find("token-said");
  find("access").addEventListener("submit", async event => {
    event.preventDefault();
    bear(find("token").value.trim());
    const locked = await loadAll();
    place.textContent = locked ? "This is not the token." : "";
    place.hidden = !locked;
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
