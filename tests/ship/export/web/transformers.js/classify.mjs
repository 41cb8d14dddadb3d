// Classifies texts with the pipeline of transformers.js from local files alone: texts as JSON in, answers as JSON out.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { basename, dirname } from "node:path";
import { pathToFileURL } from "node:url";

const [installed, model] = process.argv.slice(2);
const place = createRequire(pathToFileURL(`${installed}/`)).resolve("@huggingface/transformers");
const { env, pipeline } = await import(pathToFileURL(place));
env.allowLocalModels = true;
env.localModelPath = dirname(model);
env.allowRemoteModels = false;
const classify = await pipeline("text-classification", basename(model), { dtype: "q8" });
const answers = [];
for (const text of JSON.parse(readFileSync(0, "utf8"))) answers.push(await classify(text, { top_k: null }));
process.stdout.write(JSON.stringify(answers));
