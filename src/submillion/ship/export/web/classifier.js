// The classifier of this page: an ONNX graph that runs in this browser. No text leaves the machine.

const BATCH = 8;
const MOST_WORDS = 120; // of a text whose words are left out one by one

/** Here for the page, which also works with a server; nothing raises it. */
export class NeedsToken extends Error {}

/** The files of the classifier could not be loaded, or the computation failed. */
export class Refused extends Error {}

export const useToken = () => {};
export const hasToken = () => false;
export const fetched = async (path) => (await fetch(path)).blob();

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const waiting = new Map();
let asked = 0;
let settings = null;

worker.addEventListener("message", ({ data }) => {
  const { resolve, reject } = waiting.get(data.id);
  waiting.delete(data.id);
  if (data.error === undefined) resolve(data.value);
  else reject(new Refused(`The classifier failed in this browser: ${data.error}`));
});
worker.addEventListener("error", () => {
  for (const { reject } of waiting.values()) reject(new Refused("This browser could not start the classifier."));
  waiting.clear();
});

function ask(task, data, transfer = []) {
  const id = (asked += 1);
  return new Promise((resolve, reject) => {
    waiting.set(id, { resolve, reject });
    worker.postMessage({ id, task, ...data }, transfer);
  });
}

/**
 * Load the classifier.
 * @param {(sentence: string) => void} progress shows how far the download is
 */
export async function connect(progress) {
  settings = await json("model/classifier.json");
  const [tokenizer, config] = await Promise.all([json("model/tokenizer.json"), json("model/tokenizer_config.json")]);
  const wasm = await bytes("vendor/onnxruntime.wasm", () => {});
  const graph = await bytes("model/onnx/model_quantized.onnx", (done, total) => {
    const of = total ? ` of ${megabytes(total)}` : "";
    progress(`Loading the classifier: ${megabytes(done)}${of} …`);
  });
  await ask("load", { settings, tokenizer, config, wasm, graph }, [wasm.buffer, graph.buffer]);
  const { name, labels } = settings;
  const model = { name, labels, attribution: true, abstainBelow: null, report: null, card: null };
  return { models: [model], batch: BATCH, parallel: 1, where: "It is read in this browser; no text leaves this machine." };
}

const megabytes = (count) => `${(count / 1e6).toFixed(0)} MB`;

async function get(path) {
  let answer = null;
  try {
    answer = await fetch(path);
  } catch (error) {
    throw new Refused(`${path} could not be loaded (${error.message}). Serve this folder by a web server.`);
  }
  if (!answer.ok) throw new Refused(`${path} could not be loaded: ${answer.status} ${answer.statusText}`);
  return answer;
}

const json = async (path) => (await get(path)).json();

async function bytes(path, progress) {
  const answer = await get(path);
  const total = Number(answer.headers.get("content-length"));
  const reader = answer.body.getReader();
  const parts = [];
  let done = 0;
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    done += part.value.length;
    progress(done, total);
  }
  const joined = new Uint8Array(done);
  let at = 0;
  for (const part of parts) {
    joined.set(part, at);
    at += part.length;
  }
  return joined;
}

/**
 * Classify texts; arguments and results are those of the page's other classifier.
 * The weight of a word is the change of the log-odds of the class when the word is left out (Li, Monroe and Jurafsky
 * 2016, arXiv:1612.08220).
 */
export async function classify(model, texts, { attribution = false, signal } = {}) {
  const results = [];
  for (const logits of await ask("logits", { texts })) {
    signal?.throwIfAborted();
    results.push(answer(logits));
  }
  if (attribution && texts.length === 1) results[0].words = await weighed(texts[0], results[0].label, signal);
  return results;
}

/** Return the token ids of texts, for a check against the run's own. */
export const encode = (texts) => ask("encode", { texts });

/** Return the logits of texts, likewise. */
export const logitsOf = (texts) => ask("logits", { texts });

function answer(logits) {
  const shares = softmax(logits.map((value) => value / (settings.temperature ?? 1)));
  const scores = shares.map((score, index) => ({ label: settings.labels[index], score }));
  const first = shares.indexOf(Math.max(...shares));
  return {
    label: settings.labels[first],
    confidence: shares[first],
    calibrated: settings.temperature !== null,
    scores: scores.sort((one, other) => other.score - one.score),
    words: null,
  };
}

function softmax(values) {
  const most = Math.max(...values);
  const powers = values.map((value) => Math.exp(value - most));
  const sum = powers.reduce((total, value) => total + value, 0);
  return powers.map((value) => value / sum);
}

async function weighed(text, label, signal) {
  const found = [...text.matchAll(/[\p{L}\p{N}\p{M}]+(?:['’.,-][\p{L}\p{N}\p{M}]+)*/gu)];
  if (found.length < 2 || found.length > MOST_WORDS) return null;
  const place = settings.labels.indexOf(label);
  const without = found.map((word) => text.slice(0, word.index) + text.slice(word.index + word[0].length));
  const odds = [];
  const all = [text, ...without];
  for (let start = 0; start < all.length; start += BATCH) {
    signal?.throwIfAborted();
    const logits = await ask("logits", { texts: all.slice(start, start + BATCH) });
    odds.push(...logits.map((values) => logOdds(values, place)));
  }
  return found.map((word, index) => {
    const start = Array.from(text.slice(0, word.index)).length;
    return { text: word[0], start, end: start + Array.from(word[0]).length, weight: odds[0] - odds[index + 1] };
  });
}

function logOdds(logits, place) {
  const rest = logits.filter((_, index) => index !== place);
  const most = Math.max(...rest);
  return logits[place] - most - Math.log(rest.reduce((sum, value) => sum + Math.exp(value - most), 0));
}
