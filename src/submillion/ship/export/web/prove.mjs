// Classifies batches of texts in node with the files of a web export: JSON lines in, JSON lines out.

import { readFile } from "node:fs/promises";
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const place = pathToFileURL(`${process.argv[2]}/`);
const bytes = async (path) => new Uint8Array(await readFile(new URL(path, place)));
const json = async (path) => JSON.parse(await readFile(new URL(path, place), "utf8"));

const { open } = await import(new URL("page/core.js", place));
const settings = await json("model/classifier.json");
const tokenizer = await json("model/tokenizer.json");
const config = await json("model/tokenizer_config.json");
const [wasm, graph] = [await bytes("vendor/onnxruntime.wasm"), await bytes("model/onnx/model_quantized.onnx")];
const classifier = await open(settings, tokenizer, config, wasm, graph);

for await (const line of createInterface({ input: process.stdin })) {
  const texts = JSON.parse(line);
  const answer = { ids: texts.map(classifier.encode), logits: await classifier.logits(texts) };
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
