// A classifier in WebAssembly: texts to token ids as the run reads them, and token ids to logits. For browsers and node.

import * as ort from "../vendor/onnxruntime.js";
import { Tokenizer } from "../vendor/tokenizers.js";

/**
 * Open a classifier.
 * @param {object} settings the contents of model/classifier.json
 * @param {object} tokenizer the contents of model/tokenizer.json
 * @param {object} config the contents of model/tokenizer_config.json
 * @param {Uint8Array} wasm the bytes of vendor/onnxruntime.wasm
 * @param {Uint8Array} graph the bytes of the ONNX file
 */
export async function open(settings, tokenizer, config, wasm, graph) {
  // One thread: more need a shared memory, which browsers allow only to pages that are isolated by their headers.
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = wasm;
  const session = await ort.InferenceSession.create(graph, { executionProviders: ["wasm"] });
  const encode = encoder(settings, new Tokenizer(tokenizer, config));
  return { encode, logits: (texts) => logits(session, texts.map(encode), settings) };
}

/** Return the function from a text to the token ids that the run reads. */
function encoder({ tokenizer }, library) {
  const dropped = tokenizer.dropped.length ? new RegExp(`[${tokenizer.dropped.map(range).join("")}]`, "gu") : null;
  const ordinary = tokenizer.stand_in ? new RegExp(`[\\p{Cn}${tokenizer.ordinary.map(range).join("")}]`, "gu") : null;
  const room = tokenizer.max_length - tokenizer.before.length - tokenizer.after.length;
  return (text) => {
    let read = text;
    // JavaScript writes a capital sigma at the end of a word in another way than the tokenizer does.
    if (tokenizer.lowercase) read = read.replaceAll("\u03a3", "\u03c3");
    if (dropped) read = read.replace(dropped, "");
    if (ordinary) read = read.replace(ordinary, tokenizer.stand_in);
    let ids = library.encode(read, { add_special_tokens: false }).ids;
    if (ids.length > room) ids = tokenizer.side === "left" ? ids.slice(-room) : ids.slice(0, room);
    return [...tokenizer.before, ...ids, ...tokenizer.after];
  };
}

const range = ([low, high]) => `\\u{${low.toString(16)}}-\\u{${high.toString(16)}}`;

/** Return the logits of each text, one array per text. */
async function logits(session, texts, { tokenizer, labels }) {
  const length = Math.max(...texts.map((ids) => ids.length));
  const shape = [texts.length, length];
  const values = {
    input_ids: new BigInt64Array(texts.length * length).fill(BigInt(tokenizer.pad)),
    attention_mask: new BigInt64Array(texts.length * length),
    token_type_ids: new BigInt64Array(texts.length * length),
  };
  texts.forEach((ids, row) => {
    ids.forEach((id, column) => {
      values.input_ids[row * length + column] = BigInt(id);
      values.attention_mask[row * length + column] = 1n;
    });
  });
  const feeds = Object.fromEntries(session.inputNames.map((name) => [name, new ort.Tensor("int64", values[name], shape)]));
  const output = (await session.run(feeds)).logits;
  return texts.map((_, row) => Array.from(output.data.slice(row * labels.length, (row + 1) * labels.length)));
}
