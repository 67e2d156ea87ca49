// Talks to the server. The visitor's key lives in this module and nowhere else.

let key = "";
const POLL_MS = [80, 150, 250, 400];

async function ask(method, path, body) {
  let response;
  try {
    response = await fetch(path, { method, body, headers: { "X-Visitor": key }, cache: "no-store" });
  } catch {
    throw new Error("the server does not answer; is it still running?");
  }
  const told = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(told.message || `the server refuses this (${response.status})`);
  return told;
}

export async function visit() {
  const about = await ask("POST", "visit");
  key = about.key;
  addEventListener("pagehide", (event) => {
    if (!event.persisted) fetch("leave", { method: "POST", headers: { "X-Visitor": key }, keepalive: true });
  });
  return about;
}

// Has a job done and returns its answer; `waiting` is told how many come first, or -1 while it is worked on.
export async function work(path, body, waiting) {
  await ask("POST", path, body);
  for (let turn = 0; ; turn += 1) {
    const job = await ask("GET", "job");
    if (job.state === "done") return job.answer;
    if (job.state === "failed") throw new Error(job.message);
    waiting(job.state === "waiting" ? job.before : -1);
    await new Promise((wake) => setTimeout(wake, POLL_MS[Math.min(turn, POLL_MS.length - 1)]));
  }
}
