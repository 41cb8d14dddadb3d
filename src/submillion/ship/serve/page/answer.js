// Draws the answer to one text: the class, a bar for every class, and the words that drove the decision.

import { abstains } from "./table.js";

const SHOWN = 8; // bars; the rest are one click away
const MARKED = 0.15; // of the largest weight
const STRONG = 0.6; // likewise
const HEAVIEST = 5; // words in the list

const at = (id) => document.getElementById(id);

/** Write a share as a percentage that never says 100% of something smaller. */
export function percent(share) {
  const rounded = (100 * share).toFixed(1);
  if (rounded === "100.0" && share < 1) return "> 99.9%";
  if (rounded === "0.0" && share > 0) return "< 0.1%";
  return `${rounded}%`;
}

/** Return a new element with a class and a text. */
export function made(tag, name = "", text = "") {
  const element = document.createElement(tag);
  if (name) element.className = name;
  if (text) element.textContent = text;
  return element;
}

/** Show a result; `threshold` is a share. */
export function showAnswer(text, result, threshold) {
  const none = abstains(result, threshold);
  at("empty").hidden = true;
  at("result").hidden = false;
  at("result-kind").textContent = none ? "No answer; the most probable class would be" : "Class";
  at("label").textContent = result.label;
  at("label").classList.toggle("withheld", none);
  at("certainty").textContent = certainty(result, threshold, none);
  const bars = result.scores.map((entry) => bar(entry, entry.label === result.label && !none));
  at("bars").replaceChildren(...bars.slice(0, SHOWN));
  at("more").hidden = bars.length <= SHOWN;
  at("more-summary").textContent = `${bars.length - SHOWN} more`;
  at("more-bars").replaceChildren(...bars.slice(SHOWN));
  showWords(text, result);
  const kind = none ? "No answer" : result.label;
  at("spoken").textContent = `${kind}. ${at("certainty").textContent}`;
}

function certainty(result, threshold, none) {
  const kind = result.calibrated ? "Calibrated confidence" : "Confidence";
  const value = `${kind} ${percent(result.confidence)}`;
  return none ? `${value}, below ${percent(threshold)}.` : `${value}.`;
}

function bar({ label, score }, own) {
  const item = made("li", own ? "own" : "");
  const track = made("span", "track");
  const fill = made("span", "fill");
  fill.style.setProperty("inline-size", `${100 * score}%`);
  track.append(fill);
  track.setAttribute("aria-hidden", "true");
  item.append(made("span", "name", label), " ", track, " ", made("span", "value", percent(score)));
  return item;
}

function showWords(text, { words, label }) {
  const most = Math.max(0, ...(words ?? []).map((word) => Math.abs(word.weight)));
  at("explanation").hidden = most === 0;
  if (most === 0) return;
  at("words-heading").textContent = `Words that drove the decision for ${label}`;
  at("words").replaceChildren(...marked(text, words, most));
  at("heaviest").textContent = `For ${label}: ${list(words, 1, most)}. Against: ${list(words, -1, most)}.`;
}

/** Return the text as nodes, the heavy words marked. Positions count code points, as in Python. */
function marked(text, words, most) {
  const points = Array.from(text);
  const nodes = [];
  let done = 0;
  for (const word of [...words].sort((one, other) => one.start - other.start)) {
    if (Math.abs(word.weight) < MARKED * most || word.start < done) continue;
    nodes.push(points.slice(done, word.start).join(""));
    const side = word.weight > 0 ? "for" : "against";
    const mark = made("mark", Math.abs(word.weight) >= STRONG * most ? `${side} strong` : side);
    const sign = made("sup", "", word.weight > 0 ? "+" : "−");
    sign.setAttribute("aria-hidden", "true");
    mark.append(points.slice(word.start, word.end).join(""), sign);
    nodes.push(mark);
    done = word.end;
  }
  return [...nodes, points.slice(done).join("")];
}

function list(words, sign, most) {
  const chosen = words.filter((word) => sign * word.weight >= MARKED * most);
  chosen.sort((one, other) => sign * (other.weight - one.weight));
  return chosen.length ? chosen.slice(0, HEAVIEST).map((word) => word.text).join(", ") : "none";
}

/** Remove the answer. */
export function clearAnswer() {
  at("empty").hidden = false;
  at("result").hidden = true;
  at("explanation").hidden = true;
  at("spoken").textContent = "";
}
