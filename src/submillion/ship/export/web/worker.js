// The thread that owns the classifier, so that the page stays responsive while it computes.

import { open } from "./core.js";

let classifier = null;

async function load({ settings, tokenizer, config, wasm, graph }) {
  classifier = await open(settings, tokenizer, config, wasm, graph);
}

const tasks = {
  load: async (data) => load(data),
  logits: (data) => classifier.logits(data.texts),
  encode: (data) => data.texts.map(classifier.encode),
};

self.addEventListener("message", async ({ data }) => {
  try {
    self.postMessage({ id: data.id, value: await tasks[data.task](data) });
  } catch (error) {
    self.postMessage({ id: data.id, error: String(error?.message ?? error) });
  }
});
