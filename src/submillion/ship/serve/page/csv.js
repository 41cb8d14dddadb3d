// Reads and writes csv files as RFC 4180 defines them, and guards cells that a spreadsheet would run as formulas.

export const SEPARATORS = { ",": "comma", ";": "semicolon", "\t": "tab" };
const BYTE_ORDER_MARK = "\ufeff";
const SAMPLE = 50; // records from which the separator is recognised

/** A file that cannot be used; the message says what was expected and what was found. */
export class BadFile extends Error {}

/**
 * Decode the bytes of a text file: UTF-8, UTF-16 with a byte order mark, else Windows-1252.
 * @param {ArrayBuffer} bytes
 * @returns {{text: string, encoding: string}} the text without its byte order mark
 */
export function decode(bytes) {
  const [first, second] = new Uint8Array(bytes.slice(0, 2));
  if (first === 0xff && second === 0xfe) return { text: new TextDecoder("utf-16le").decode(bytes), encoding: "UTF-16" };
  if (first === 0xfe && second === 0xff) return { text: new TextDecoder("utf-16be").decode(bytes), encoding: "UTF-16" };
  try {
    return { text: new TextDecoder("utf-8", { fatal: true }).decode(bytes), encoding: "UTF-8" };
  } catch {
    return { text: new TextDecoder("windows-1252").decode(bytes), encoding: "Windows-1252" };
  }
}

/**
 * Split a csv text into records.
 * @param {string} text
 * @param {string} separator one character
 * @param {number} most stop after this many records
 * @returns {string[][]} records; blank lines are empty texts below a record of one field, else they are left out
 */
export function parse(text, separator, most = Infinity) {
  const records = [];
  let record = [];
  let at = text.startsWith(BYTE_ORDER_MARK) ? 1 : 0;
  const finish = () => {
    if (record.length > 1 || record[0] !== "" || records[0]?.length === 1) records.push(record);
    record = [];
  };
  let open = at < text.length;
  while (open && records.length < most) {
    let field = "";
    if (text[at] === '"') {
      [field, at] = quoted(text, at, records.length + 1);
      if (at < text.length && text[at] !== separator && !isBreak(text[at])) {
        throw new BadFile(`Record ${records.length + 1}: text after a closing quote, near “${excerpt(text, at)}”.`);
      }
    } else {
      const start = at;
      while (at < text.length && text[at] !== separator && !isBreak(text[at])) at += 1;
      field = text.slice(start, at);
    }
    record.push(field);
    if (text[at] === separator) {
      at += 1;
      continue; // a separator at the end of the text opens one more, empty field
    }
    if (at < text.length) at += text[at] === "\r" && text[at + 1] === "\n" ? 2 : 1;
    finish();
    open = at < text.length;
  }
  return records;
}

function quoted(text, start, number) {
  let field = "";
  let from = start + 1;
  for (;;) {
    const end = text.indexOf('"', from);
    if (end < 0) throw new BadFile(`Record ${number}: a quote is never closed, near “${excerpt(text, start)}”.`);
    field += text.slice(from, end);
    if (text[end + 1] !== '"') return [field, end + 1];
    field += '"';
    from = end + 2;
  }
}

const isBreak = (character) => character === "\n" || character === "\r";
const excerpt = (text, at) => text.slice(at, at + 30).replace(/\s+/g, " ");

/**
 * Recognise the separator: the one that divides the first records into the same number of fields, and into most.
 * @param {string} text
 * @returns {string}
 */
export function separatorOf(text) {
  let best = { separator: ",", fields: 1 };
  for (const separator of Object.keys(SEPARATORS)) {
    let records;
    try {
      records = parse(text, separator, SAMPLE);
    } catch (error) {
      if (error instanceof BadFile) continue; // quotes do not fit this separator
      throw error;
    }
    const fields = records.length ? records[0].length : 1;
    if (fields > best.fields && records.every((record) => record.length === fields)) best = { separator, fields };
  }
  return best.separator;
}

/**
 * Read a table; every record has as many fields as the first.
 * @param {string} text
 * @param {string} separator
 * @returns {string[][]}
 */
export function table(text, separator) {
  const records = parse(text, separator);
  if (!records.length) throw new BadFile("Expected a csv file with at least one record; the file is empty.");
  const fields = records[0].length;
  const odd = records.findIndex((record) => record.length !== fields);
  if (odd >= 0) {
    throw new BadFile(
      `Record ${odd + 1} has ${count(records[odd].length, "field")}, the first record has ${fields}. ` +
        "Enclose texts that contain the separator in double quotes.",
    );
  }
  return records;
}

const count = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

// https://owasp.org/www-community/attacks/CSV_Injection
const guarded = (cell) => (/^[=+\-@\t\r\n]/.test(cell) ? `'${cell}` : cell);

const written = (cell, separator) =>
  cell.includes('"') || cell.includes(separator) || /[\r\n]/.test(cell) ? `"${cell.replaceAll('"', '""')}"` : cell;

/**
 * Write records for a spreadsheet: with a byte order mark, and an apostrophe before cells that would be formulas.
 * @param {string[][]} records
 * @param {string} separator
 * @returns {string}
 */
export function write(records, separator) {
  const lines = records.map((record) => record.map((cell) => written(guarded(cell), separator)).join(separator));
  return `${BYTE_ORDER_MARK}${lines.join("\r\n")}\r\n`;
}
