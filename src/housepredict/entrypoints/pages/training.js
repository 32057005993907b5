// Training jobs: start, follow and cancel one, and list the latest.
import { ask } from "./asking.js";
import { el, find, table, time } from "./drawing.js";

const KINDS = { csv: "text/csv", gz: "application/gzip", parquet: "application/vnd.apache.parquet" };
const POLL_MS = 1000;

let following = null;  // the id of the running job

/** Show the latest training jobs, and the form that starts one. Throws a Refusal if the client may not train. */
export async function showTrainings() {
  const { trainings } = await ask("trainings?limit=5");
  find("open").hidden = false;
  find("closed").replaceChildren();
  find("trainings").replaceChildren(...(trainings.length
    ? [table("Latest training jobs", ["Started", "State", "Result"], trainings.map(training => [time(training.started_at), training.state, result(training)]))]
    : []));
  const running = trainings.find(training => training.state === "running");
  if (running) follow(running);
}

/** Return the error of a job as a sentence, without the path where the service stores the file. */
function errorOf({ error, source }) {
  const message = source ? error.replaceAll(source, "The file") : error;
  return message[0].toUpperCase() + message.slice(1);
}

function result(training) {
  if (training.error) return errorOf(training);
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
  const poll = async () => {
    let status;
    try {
      status = await ask(at);
    } catch (refusal) {
      following = null;
      report(refusal.message);
      return;
    }
    if (status.state === "running") {
      const { done, total } = status.progress;
      if (total) { bar.max = total; bar.value = done; }
      steps.textContent = status.cancelling ? "cancelling" : total ? `${done} of ${total} steps` : "reading the sales";
      setTimeout(poll, POLL_MS);
    } else {
      following = null;
      showOutcome(status);
    }
  };
  poll();
}

function showOutcome(training) {
  const { state, promoted, model_version: version } = training;
  const reason = { succeeded: training.reasons.join(" "), failed: training.error && errorOf(training) }[state];
  const next = promoted ? [el("a", { href: "" }, "Reload to use the new model")]
    : version ? ["To promote it anyway, run in a terminal: ", el("code", {}, `housepredict models promote ${version}`)] : [];
  const stored = version && !promoted ? "The new version was stored, but not promoted. " : "";
  report(el("p", {}, `Training ${state}. ${stored}${reason ?? ""} `, ...next));
  showTrainings().catch(() => {});
}

async function start(event) {
  event.preventDefault();
  const button = find("train").querySelector("button");
  if (following || button.getAttribute("aria-disabled")) return;
  const [file] = find("sales").files, column = find("price").value.trim(), query = new URLSearchParams();
  if (column && !file) {
    report("Choose a sales file for the price column, or leave the column empty.");
    return;
  }
  if (file && !file.size) {
    report(`${file.name} is empty. Choose a file with sales.`);
    return;
  }
  const headers = { Prefer: "respond-async" };
  if (find("recorded").checked) query.set("from_sales", "true");
  if (file) {
    headers["Content-Type"] = KINDS[file.name.toLowerCase().split(".").pop()] ?? "text/csv";
    if (column) query.set("price", column);
  }
  button.setAttribute("aria-disabled", "true");
  report(file ? `Uploading ${file.name}` : "Starting");
  try {
    follow(await ask(`train?${query}`, { method: "POST", headers, body: file }));
  } catch (refusal) {
    report(refusal.message);
  } finally {
    button.removeAttribute("aria-disabled");
  }
}

/** Connect the form that starts a job. */
export const training = () => find("train").addEventListener("submit", start);
