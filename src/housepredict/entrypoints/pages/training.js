// Training, for whoever may: asked for, followed with its progress, and cancelled.
import { ask } from "./asking.js";
import { el, find, table, time } from "./drawing.js";

const KINDS = { csv: "text/csv", gz: "application/gzip", parquet: "application/vnd.apache.parquet" };
const POLL = 1000;  // milliseconds

let following = null;

/** Show the trainings, and the form to begin one. Throws a Refusal where that is closed. */
export async function showTrainings() {
  const { trainings } = await ask("trainings?limit=5");
  find("open").hidden = false;
  find("closed").replaceChildren();
  find("trainings").replaceChildren(...(trainings.length
    ? [table("The latest trainings", ["Began", "State", "Result"], trainings.map(each => [time(each.started_at), each.state, result(each)]))]
    : []));
  const running = trainings.find(each => each.state === "running");
  if (running) follow(running);
}

/** What it failed of, as a sentence, and without the place where the service keeps the file. */
function fault({ error, source }) {
  const said = source ? error.replaceAll(source, "The file") : error;
  return said[0].toUpperCase() + said.slice(1);
}

function result(training) {
  if (training.error) return fault(training);
  if (!training.model_version) return "";
  const link = el("a", { href: `models/${encodeURIComponent(training.model_version)}` }, training.model_version);
  return [link, training.promoted ? ", promoted" : ", stored but not promoted"];
}

function report(...parts) {
  find("progress").replaceChildren(el("div", { role: "status" }, ...parts));
}

function follow(training) {
  if (following === training.id) return;
  following = training.id;
  const bar = el("progress", { "aria-label": "Training" });
  const steps = el("span", { class: "soft" });
  const cancel = el("button", { type: "button" }, "Cancel");
  const at = `trainings/${encodeURIComponent(training.id)}`;
  cancel.addEventListener("click", () => ask(at, { method: "DELETE" }).catch(refusal => report(refusal.message)));
  find("progress").replaceChildren(el("div", { class: "row" }, bar, steps, cancel));
  const look = async () => {
    let now;
    try {
      now = await ask(at);
    } catch (refusal) {
      following = null;
      report(refusal.message);
      return;
    }
    if (now.state === "running") {
      const { done, total } = now.progress;
      if (total) { bar.max = total; bar.value = done; }
      steps.textContent = now.cancelling ? "being cancelled" : total ? `${done} of ${total} steps` : "reading the sales";
      setTimeout(look, POLL);
    } else {
      following = null;
      ended(now);
    }
  };
  look();
}

function ended(training) {
  const { state, promoted, model_version: version } = training;
  const said = { succeeded: training.reasons.join(" "), failed: training.error && fault(training) }[state];
  const next = promoted ? [el("a", { href: "" }, "Load the page of the new model")]
    : version ? ["To promote it anyway, run in a terminal: ", el("code", {}, `housepredict models promote ${version}`)] : [];
  const stored = version && !promoted ? "The new version was stored, but not promoted: it does not serve. " : "";
  report(el("p", {}, `Training ${state}. ${stored}${said ?? ""} `, ...next));
  showTrainings().catch(() => {});
}

async function begin(event) {
  event.preventDefault();
  const button = find("train").querySelector("button");
  if (following || button.getAttribute("aria-disabled")) return;
  const [file] = find("sales").files, column = find("price").value.trim(), query = new URLSearchParams();
  if (column && !file) {
    report("The price column is that of a file: choose the file, too, or name no column.");
    return;
  }
  if (file && !file.size) {
    report(`${file.name} is empty: choose a file of sales.`);
    return;
  }
  const headers = { Prefer: "respond-async" };
  if (find("recorded").checked) query.set("from_sales", "true");
  if (file) {
    headers["Content-Type"] = KINDS[file.name.toLowerCase().split(".").pop()] ?? "text/csv";
    if (column) query.set("price", column);
  }
  button.setAttribute("aria-disabled", "true");
  report(file ? `Sending ${file.name}` : "Beginning");
  try {
    follow(await ask(`train?${query}`, { method: "POST", headers, body: file }));
  } catch (refusal) {
    report(refusal.message);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Let the form train. */
export const training = () => find("train").addEventListener("submit", begin);
