// The classifier of this page: the server that sent it, by the same API as any other client.

const MOST_RETRIES = 20; // of one batch that a busy server refuses
const LONGEST_WAIT = 60; // seconds
const BATCH = 64;

let token = null;

/** The server asks for a token, or refuses the one it got. */
export class NeedsToken extends Error {}

/** The server refused or failed; `status` is that of HTTP, 0 if it did not answer. */
export class Refused extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** Send this token with every further request. It is held in memory alone. */
export const useToken = (value) => {
  token = value;
};

const headers = () => (token ? { authorization: `Bearer ${token}` } : {});

/**
 * Ask for the models.
 * @returns {Promise<{models: Model[], batch: number, parallel: number, where: string}>}
 */
export async function connect() {
  const info = await json(await request("info", {}));
  const models = info.models.map((model) => ({
    name: model.name,
    labels: model.labels,
    attribution: model.attribution,
    // The policy of a run is a threshold on confidence before calibration, and the page shows it after.
    abstainBelow: model.calibrated ? null : (model.abstain_below ?? null),
    report: model.report ? address("report", model.name) : null,
    card: model.card ? address("card", model.name) : null,
  }));
  const batch = Math.min(info.max_client_batch_size ?? BATCH, BATCH);
  return { models, batch, parallel: 2, where: "The texts go to the server that sent this page, and to nobody else." };
}

const address = (page, name) => `${page}?${new URLSearchParams({ model: name })}`;

/**
 * Classify texts.
 * @param {string} model
 * @param {string[]} texts
 * @param {{attribution?: boolean, signal?: AbortSignal, busy?: (seconds: number) => void}} options
 * @returns {Promise<Result[]>} of each text: label, confidence, calibrated, scores by class, words or null
 */
export async function classify(model, texts, { attribution = false, signal, busy = () => {} } = {}) {
  const body = JSON.stringify({ model, texts, attribution });
  let answer;
  try {
    answer = await patiently(() => request("classify", post(body, signal)), signal, busy);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 413 && texts.length > 1)) throw error;
    const half = texts.length >> 1;
    const first = await classify(model, texts.slice(0, half), { attribution, signal, busy });
    return [...first, ...(await classify(model, texts.slice(half), { attribution, signal, busy }))];
  }
  const { results } = await json(answer);
  return results.map(read);
}

const post = (body, signal) => ({ method: "POST", headers: { "content-type": "application/json" }, body, signal });

function read(result) {
  const calibrated = result.calibrated_score !== null && result.calibrated_score !== undefined;
  return {
    label: result.label,
    confidence: calibrated ? result.calibrated_score : result.score,
    calibrated,
    scores: result.scores.map((entry) => ({
      label: entry.label,
      score: calibrated ? (entry.calibrated_score ?? entry.score) : entry.score,
    })),
    words: result.words ?? null,
  };
}

/** Send a request again while the server is busy, after the time it asks for. */
async function patiently(send, signal, busy) {
  for (let retry = 0; ; retry += 1) {
    const answer = await send();
    if (answer.status !== 429 && answer.status !== 503) return answer;
    if (retry === MOST_RETRIES) throw new Refused(answer.status, await reason(answer));
    const seconds = waitOf(answer.headers.get("retry-after"));
    busy(seconds);
    await pause(seconds, signal);
  }
}

/** Seconds of a Retry-After, which is a number or a date (RFC 9110, 10.2.3). */
export function waitOf(value, now = Date.now()) {
  const number = value === null || value.trim() === "" ? NaN : Number(value);
  const seconds = Number.isNaN(number) ? (Date.parse(value ?? "") - now) / 1000 : number;
  return Number.isFinite(seconds) ? Math.min(Math.max(seconds, 0.05), LONGEST_WAIT) : 1;
}

function pause(seconds, signal) {
  return new Promise((resolve, reject) => {
    const stop = () => {
      clearTimeout(timer);
      reject(signal.reason);
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener("abort", stop);
      resolve();
    }, seconds * 1000);
    signal?.addEventListener("abort", stop, { once: true });
  });
}

async function request(path, options) {
  let answer;
  try {
    answer = await fetch(path, { ...options, headers: { ...options.headers, ...headers() }, credentials: "omit" });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused(0, "The server does not answer. Check that it still runs, then try again.");
  }
  if (answer.status === 401 || answer.status === 403) {
    throw new NeedsToken(token ? "The server refuses this token." : "This server asks for a token.");
  }
  if (answer.ok || answer.status === 429 || answer.status === 503) return answer;
  throw new Refused(answer.status, await reason(answer));
}

async function reason(answer) {
  const text = await answer.text();
  try {
    const { error } = JSON.parse(text);
    if (typeof error === "string") return error;
  } catch {
    // An answer that is not ours, such as a proxy's page: its status is all that can be shown.
  }
  return `The server answered ${answer.status} ${answer.statusText}`.trim();
}

const json = (answer) => answer.json();

/** Fetch a page of the server that a link cannot reach, because a link sends no token. */
export async function fetched(path) {
  const answer = await request(path, {});
  return answer.blob();
}

/** Whether pages of the server have to be fetched with `fetched`. */
export const hasToken = () => token !== null;
