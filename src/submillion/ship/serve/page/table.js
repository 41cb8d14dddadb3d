// A table of texts: its column of texts, its classification in batches, and the table with the results.

const MOST_CHARACTERS = 200_000; // of one batch

/** Return the most likely text column: one named so, else the one with the longest cells on average. */
export function textColumn(names, rows) {
  const named = names.findIndex((name) => /^(text|texts|body|message|content|comment|review|sentence)$/i.test(name.trim()));
  if (named >= 0) return named;
  const sample = rows.slice(0, 200);
  const lengths = names.map((_, column) => sample.reduce((sum, row) => sum + row[column].length, 0));
  return lengths.indexOf(Math.max(...lengths));
}

/**
 * Classify the texts that have no result yet.
 * @param {string[]} texts
 * @param {(Result|null)[]} results filled in place; those of blank texts stay null
 * @param {(texts: string[]) => Promise<Result[]>} classify
 * @param {{batch: number, parallel: number, signal: AbortSignal, progress: () => void}} options
 */
export async function classifyAll(texts, results, classify, { batch, parallel, signal, progress }) {
  const queue = batches(texts, results, batch);
  let failed = false;
  const work = async () => {
    while (queue.length && !failed) {
      signal.throwIfAborted();
      const places = queue.shift();
      try {
        const found = await classify(places.map((place) => texts[place]));
        places.forEach((place, index) => {
          results[place] = found[index];
        });
      } catch (error) {
        failed = true;
        throw error;
      }
      progress();
    }
  };
  const outcomes = await Promise.allSettled(Array.from({ length: parallel }, work));
  const rejected = outcomes.find((outcome) => outcome.status === "rejected");
  if (rejected) throw rejected.reason;
}

function batches(texts, results, most) {
  const queue = [];
  let places = [];
  let characters = 0;
  texts.forEach((text, place) => {
    if (results[place] || isBlank(text)) return;
    if (places.length === most || (places.length && characters + text.length > MOST_CHARACTERS)) {
      queue.push(places);
      [places, characters] = [[], 0];
    }
    places.push(place);
    characters += text.length;
  });
  if (places.length) queue.push(places);
  return queue;
}

/** Whether a cell has no text to classify. */
export const isBlank = (text) => text.trim() === "";

/** Whether a result is no answer, because its confidence is below the threshold. */
export const abstains = (result, threshold) => result.confidence < threshold;

/**
 * Return the records of the result: the columns of the file, then label, confidence and abstained.
 * @param {string[]} names
 * @param {string[][]} rows
 * @param {(Result|null)[]} results
 * @param {number} threshold
 */
export function withResults(names, rows, results, threshold) {
  const added = ["predicted_label", "confidence", "abstained"].map((name) => unused(name, names));
  const lines = rows.map((row, place) => {
    const result = results[place];
    if (!result) return [...row, "", "", ""];
    return [...row, result.label, result.confidence.toFixed(6), String(abstains(result, threshold))];
  });
  return [[...names, ...added], ...lines];
}

function unused(name, names) {
  let candidate = name;
  for (let number = 2; names.includes(candidate); number += 1) candidate = `${name}_${number}`;
  return candidate;
}

/** Return by class: rows, and the mean confidence; then the rows without an answer and those without a text. */
export function summary(texts, results, threshold) {
  const classes = new Map();
  let abstained = 0;
  let done = 0;
  for (const result of results) {
    if (!result) continue;
    done += 1;
    if (abstains(result, threshold)) {
      abstained += 1;
      continue;
    }
    const entry = classes.get(result.label) ?? { rows: 0, confidence: 0 };
    entry.rows += 1;
    entry.confidence += result.confidence;
    classes.set(result.label, entry);
  }
  const blank = texts.filter(isBlank).length;
  const lines = [...classes].map(([label, { rows, confidence }]) => ({ label, rows, confidence: confidence / rows }));
  lines.sort((one, other) => other.rows - one.rows);
  return { classes: lines, abstained, done, blank, left: texts.length - blank - done };
}
