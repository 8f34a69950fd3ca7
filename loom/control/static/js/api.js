// Calls of the API, in the session of who looks.

/** A refusal in Loom's words. */
export class Problem extends Error {
  constructor(status, document) {
    super(document?.detail || `the request failed (${status || "no connection"})`);
    this.status = status;
    this.title = document?.title || "That did not work";
    this.errors = document?.errors || [];
    this.correlationId = document?.correlation_id || "";
  }
}

/** The token that tells a page of Loom's from another site's. */
function csrf() {
  return document.querySelector('meta[name="csrf-token"]')?.content || "";
}

/** Send JSON; gives the answer's JSON, or null. Raises Problem. */
export async function call(method, path, body, headers = {}) {
  const sent = { Accept: "application/json", ...headers };
  if (csrf()) sent["X-CSRF-Token"] = csrf();
  if (body !== undefined) sent["Content-Type"] = "application/json";
  let answer;
  try {
    answer = await fetch(path, {
      method, headers: sent, credentials: "same-origin",
      body: body === undefined ? undefined : JSON.stringify(body),
    });
  } catch {
    throw new Problem(0, { title: "No connection", detail: "Loom did not answer. Is the network there? Nothing is known to have changed: look, then try again." });
  }
  const json = (answer.headers.get("Content-Type") || "").includes("json");
  const document = json ? await answer.json().catch(() => null) : null;
  if (!answer.ok) throw new Problem(answer.status, document);
  return document;
}
