// Requests to the service, at addresses relative to the page's own. A token stays in this variable alone.
let token = "";

export const bear = value => { token = value; };

/** The document that a request is answered with. Throws a Refusal for every other answer, and for none. */
export async function ask(path, { headers = {}, ...options } = {}) {
  const borne = token ? { Authorization: `Bearer ${token}` } : {};
  let answer, document;
  try {
    answer = await fetch(path, { ...options, headers: { Accept: "application/json", ...borne, ...headers } });
    document = await answer.json();
  } catch {
    throw new Refusal(answer?.status ?? 0, { detail: "The service cannot be reached, or says nothing that can be read." });
  }
  if (!answer.ok) throw new Refusal(answer.status, document);
  return document;
}

export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The service answered with ${status}.`);
    this.status = status;
    this.kind = String(problem.type ?? "").split(":").pop();
    this.violations = problem.violations ?? [];
  }

  /** Whether it is a token that is missing. */
  get locked() { return this.status === 401; }
}
