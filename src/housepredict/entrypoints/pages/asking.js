// Requests to the service, at URLs relative to the page. The token is kept only in this variable.
let token = "";

export const setToken = value => { token = value; };

/** Send a request and return the JSON of the response. Throws a Refusal for an error or no response. */
export async function ask(path, { headers = {}, ...options } = {}) {
  const authorization = token ? { Authorization: `Bearer ${token}` } : {};
  let response, document;
  try {
    response = await fetch(path, { ...options, headers: { Accept: "application/json", ...authorization, ...headers } });
    document = await response.json();
  } catch {
    throw new Refusal(response?.status ?? 0, { detail: "The service is unreachable, or its response could not be read. Try again." });
  }
  if (!response.ok) throw new Refusal(response.status, document);
  return document;
}

/** An error from the service: the status, and the kind and violations of its problem document. */
export class Refusal extends Error {
  constructor(status, problem) {
    super(problem.detail ?? problem.title ?? `The service returned HTTP status ${status}.`);
    this.status = status;
    this.kind = String(problem.type ?? "").split(":").pop();
    this.violations = problem.violations ?? [];
  }

  /** Whether the request needs a valid token. */
  get locked() { return this.status === 401; }
}
