// The part of the page that classifies a file: choose it, read it, send it, and download the result.

import { made, percent } from "./answer.js";
import { BadFile, SEPARATORS, decode, separatorOf, table, write } from "./csv.js";
import { classifyAll, isBlank, summary, textColumn, withResults } from "./table.js";

const MOST_BYTES = 100e6;
const SAMPLE = 3; // texts shown before the start
const SPOKEN_EVERY = 10_000; // milliseconds between spoken progress

const at = (id) => document.getElementById(id);
const number = (value) => value.toLocaleString("en");
const rowsOf = (value) => `${number(value)} ${value === 1 ? "row" : "rows"}`;

/**
 * Wire the part of the page for files.
 * @param {{classify: Function, batch: number, parallel: number, threshold: () => number, failed: Function}} context
 */
export function fileSection(context) {
  const state = { file: null, text: "", names: [], rows: [], results: [], abort: null, spoken: 0 };
  const texts = () => state.rows.map((row) => row[at("column").selectedIndex]);
  const say = (message) => {
    at("file-status").textContent = message;
  };

  async function open(file) {
    state.abort?.abort();
    at("table").hidden = true;
    at("outcome").hidden = true;
    say("");
    state.file = file;
    try {
      if (file.size > MOST_BYTES) {
        throw new BadFile(
          `Expected at most 100 MB, found ${number(Math.round(file.size / 1e6))} MB. ` +
            "Use submillion predict on the command line for a file of this size.",
        );
      }
      const { text, encoding } = decode(await file.arrayBuffer());
      state.text = text;
      state.encoding = encoding;
      at("separator").value = separatorOf(text);
      read();
    } catch (error) {
      refuse(error);
    }
  }

  function refuse(error) {
    if (!(error instanceof BadFile)) throw error;
    at("table").hidden = true;
    say(`${state.file.name}: ${error.message}`);
  }

  function read() {
    const records = table(state.text, at("separator").value);
    const named = at("header").checked;
    state.names = named ? records[0] : records[0].map((_, index) => `column ${index + 1}`);
    state.rows = named ? records.slice(1) : records;
    if (!state.rows.length) throw new BadFile("Expected at least one row below the names of the columns, found none.");
    const options = state.names.map((name, index) => new Option(name || `column ${index + 1}`, String(index)));
    at("column").replaceChildren(...options);
    at("column").selectedIndex = textColumn(state.names, state.rows);
    const other = state.encoding === "UTF-8" ? "" : ` It is not UTF-8 and was read as ${state.encoding}.`;
    const columns = `${number(state.names.length)} ${state.names.length === 1 ? "column" : "columns"}`;
    at("facts").textContent = `${state.file.name}: ${rowsOf(state.rows.length)}, ${columns}.${other}`;
    at("table").hidden = false;
    forget();
  }

  /** Forget the results: they belong to another column, separator or model. */
  function forget() {
    state.abort?.abort();
    state.results = state.rows.map(() => null);
    at("outcome").hidden = true;
    at("sample").replaceChildren(...texts().slice(0, SAMPLE).map((text) => made("li", "", text || "(no text)")));
    say("");
    offer();
  }

  function offer() {
    const running = state.abort !== null;
    const { done, left } = summary(texts(), state.results, 0);
    at("start").textContent = done ? `Continue with ${rowsOf(left)}` : `Classify ${rowsOf(left)}`;
    at("start").hidden = running || (done > 0 && left === 0);
    at("start").disabled = left === 0;
    at("cancel").hidden = !running;
    at("running").hidden = !running;
  }

  async function start() {
    const column = texts();
    const abort = new AbortController();
    const began = { at: performance.now(), done: state.results.filter(Boolean).length };
    state.abort = abort;
    state.spoken = performance.now();
    offer();
    at("cancel").focus();
    say(`Classifying ${rowsOf(column.length)}.`);
    progressed(column, began);
    let problem = "";
    try {
      await classifyAll(column, state.results, (part) => context.classify(part, { signal: abort.signal, busy }), {
        batch: context.batch(),
        parallel: context.parallel(),
        signal: abort.signal,
        progress: () => state.abort === abort && progressed(column, began),
      });
    } catch (error) {
      if (!abort.signal.aborted) {
        abort.abort(); // the other batches
        problem = context.failed(error);
      }
    }
    if (state.abort !== abort) return; // another file was opened meanwhile
    state.abort = null;
    offer();
    finish(problem);
  }

  const busy = (seconds) => {
    at("rate").textContent = `The server is busy; the next attempt follows in ${Math.ceil(seconds)} s.`;
  };

  function progressed(column, began) {
    const { done, blank, left } = summary(column, state.results, 0);
    at("progress").value = column.length ? (done + blank) / column.length : 1;
    const seconds = (performance.now() - began.at) / 1000;
    const rate = (done - began.done) / seconds;
    const remaining = rate > 0 ? ` ${number(Math.round(rate))} rows/s, about ${duration(left / rate)} left.` : "";
    at("rate").textContent = `${number(done)} of ${rowsOf(column.length - blank)}.${remaining}`;
    if (performance.now() - state.spoken > SPOKEN_EVERY) {
      state.spoken = performance.now();
      say(`${number(done)} of ${rowsOf(column.length - blank)} classified.`);
    }
  }

  function finish(problem) {
    const { done, left, blank } = summary(texts(), state.results, 0);
    const skipped = blank ? ` ${rowsOf(blank)} without a text got no class.` : "";
    if (problem) say(`${problem} ${rowsOf(done)} are classified, ${number(left)} are not.${skipped}`);
    else if (left) say(`Stopped: ${rowsOf(done)} are classified, ${number(left)} are not.${skipped}`);
    else say(`Done: ${rowsOf(done)} classified.${skipped}`);
    show();
    at(at("outcome").hidden ? "start" : "download").focus();
  }

  function show() {
    const found = summary(texts(), state.results, context.threshold());
    at("outcome").hidden = found.done === 0 || state.abort !== null;
    const line = (label, rows, confidence) => {
      const row = made("tr");
      const name = made("th", "", label);
      name.scope = "row";
      row.append(name, made("td", "n", number(rows)), made("td", "n", percent(rows / found.done)));
      row.append(made("td", "n", confidence === null ? "" : percent(confidence)));
      return row;
    };
    const lines = found.classes.map((entry) => line(entry.label, entry.rows, entry.confidence));
    if (found.abstained) lines.push(line("No answer", found.abstained, null));
    at("outcome-rows").replaceChildren(...lines);
    at("outcome-caption").textContent = `${rowsOf(found.done)} of ${state.file.name} by class`;
    at("download").textContent = found.left ? `Download the ${rowsOf(found.done)} as csv` : "Download csv";
  }

  function download() {
    const { left } = summary(texts(), state.results, 0);
    const records = withResults(state.names, state.rows, state.results, context.threshold());
    const stem = state.file.name.replace(/\.[^.]*$/, "");
    save(write(records, at("separator").value), `${stem}-${left ? "partly-" : ""}classified.csv`);
  }

  at("separator").replaceChildren(...Object.entries(SEPARATORS).map(([value, name]) => new Option(name, value)));
  at("file").addEventListener("change", () => at("file").files.length && open(at("file").files[0]));
  for (const id of ["separator", "header"]) {
    at(id).addEventListener("change", () => {
      try {
        read();
      } catch (error) {
        refuse(error);
      }
    });
  }
  at("column").addEventListener("change", forget);
  at("start").addEventListener("click", start);
  at("cancel").addEventListener("click", () => state.abort?.abort());
  at("download").addEventListener("click", download);
  acceptDrops(at("drop"), open);
  return { forget: () => state.file && !at("table").hidden && forget(), show: () => state.file && show() };
}

function duration(seconds) {
  if (seconds < 90) return `${Math.ceil(seconds)} s`;
  return `${Math.ceil(seconds / 60)} min`;
}

/** Save a text as a file. */
export function save(content, name) {
  const link = made("a");
  link.href = URL.createObjectURL(content instanceof Blob ? content : new Blob([content], { type: "text/csv" }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

/** Open a file that is dropped on `zone`; one that misses it is ignored instead of replacing the page. */
function acceptDrops(zone, open) {
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  zone.addEventListener("dragover", () => zone.classList.add("over"));
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  zone.addEventListener("drop", (event) => {
    if (event.dataTransfer.files.length) open(event.dataTransfer.files[0]);
  });
}
