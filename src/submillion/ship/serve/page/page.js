// Connects the page with its classifier: models, settings, one text, and a file of texts.

import { clearAnswer, percent, showAnswer } from "./answer.js";
import { NeedsToken, Refused, classify, connect, fetched, hasToken, useToken } from "./classifier.js";
import { fileSection, save } from "./file.js";
import "./theme.js";

const at = (id) => document.getElementById(id);
const state = { models: [], batch: 1, parallel: 1, shown: null, abort: null };

const model = () => state.models[at("model").selectedIndex];
const threshold = () => Number(at("threshold").value) / 100;

function problem(message) {
  at("problem").hidden = !message;
  at("problem-text").textContent = message;
}

/** Show why something failed and return it as a sentence; anything unexpected is raised. */
function failed(error) {
  if (error instanceof NeedsToken) {
    at("token-form").hidden = false;
    at("token").focus();
  } else if (!(error instanceof Refused)) throw error;
  const sentence = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`;
  problem(sentence);
  return sentence;
}

const files = fileSection({
  classify: (texts, options) => classify(model().name, texts, options),
  batch: () => state.batch,
  parallel: () => state.parallel,
  threshold,
  failed,
});

async function load() {
  try {
    const loaded = await connect((progress) => {
      at("purpose").textContent = progress;
    });
    Object.assign(state, { models: loaded.models, batch: loaded.batch, parallel: loaded.parallel });
    at("where").textContent = loaded.where;
  } catch (error) {
    at("purpose").textContent = "";
    failed(error);
    return;
  }
  problem("");
  at("token-form").hidden = true;
  at("model").replaceChildren(...state.models.map((entry) => new Option(entry.name)));
  at("models").hidden = state.models.length < 2;
  at("work").hidden = false;
  chooseModel();
}

function chooseModel() {
  const { name, labels, report, card, abstainBelow } = model();
  document.title = `${name} · submillion`;
  at("name").textContent = name;
  at("purpose").textContent = `Classifies texts into ${labels.length} classes: ${listed(labels)}.`;
  for (const [id, address] of Object.entries({ report, card })) {
    at(id).hidden = address === null;
    if (address !== null) at(id).href = address;
  }
  at("links").hidden = report === null && card === null;
  setThreshold(abstainBelow ?? 0);
  state.abort?.abort();
  forgetAnswer();
  files.forget();
}

function listed(labels) {
  const most = 12;
  if (labels.length > most) return `${labels.slice(0, most - 2).join(", ")} and ${labels.length - most + 2} more`;
  return labels.length > 1 ? `${labels.slice(0, -1).join(", ")} and ${labels.at(-1)}` : labels[0];
}

function setThreshold(share) {
  at("threshold").value = String(Math.round(100 * share));
  showThreshold();
}

function showThreshold() {
  at("threshold-value").textContent = `${at("threshold").value}%`;
  at("threshold").setAttribute("aria-valuetext", percent(threshold()));
}

function forgetAnswer() {
  state.shown = null;
  clearAnswer();
}

async function classifyOne() {
  const text = at("text").value;
  if (!text.trim()) {
    problem("Expected a text, found none. Type or paste one.");
    at("text").focus();
    return;
  }
  state.abort?.abort();
  const abort = new AbortController();
  state.abort = abort;
  at("answer").setAttribute("aria-busy", "true");
  problem("");
  try {
    const options = { attribution: model().attribution, signal: abort.signal };
    const [result] = await classify(model().name, [text], options);
    if (state.abort !== abort) return;
    state.shown = { text, result };
    showAnswer(text, result, threshold());
  } catch (error) {
    if (!abort.signal.aborted) failed(error);
  } finally {
    if (state.abort === abort) at("answer").setAttribute("aria-busy", "false");
  }
}

at("one").addEventListener("submit", (event) => {
  event.preventDefault();
  classifyOne();
});
at("one").addEventListener("reset", () => {
  state.abort?.abort();
  problem("");
  forgetAnswer();
  at("text").focus();
});
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) at("one").requestSubmit();
});
at("threshold").addEventListener("input", () => {
  showThreshold();
  if (state.shown) showAnswer(state.shown.text, state.shown.result, threshold());
  files.show();
});
at("model").addEventListener("change", chooseModel);
at("token-form").addEventListener("submit", (event) => {
  event.preventDefault();
  useToken(at("token").value.trim());
  load();
});
for (const id of ["report", "card"]) {
  at(id).addEventListener("click", async (event) => {
    if (!hasToken()) return;
    event.preventDefault();
    try {
      save(await fetched(at(id).href), `${model().name}-${id}.${id === "report" ? "html" : "md"}`);
    } catch (error) {
      failed(error);
    }
  });
}
load();
