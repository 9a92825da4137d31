// Heads of the columns of the incident list: a click sorts by one, the next
// one turns the order round.

import { at, el, refill } from './dom.js';

/** Columns: class, name, and the sort they stand for. */
const COLUMNS = /** @type {const} */ ([
  ['worst', 'Severity', 'severity'],
  ['naming', 'Incident', 'title'],
  ['subject', 'Subject', 'subject'],
  ['stream', 'Stream', 'stream'],
  ['owner', 'Owner', 'owner'],
  ['age', 'Last seen', 'last_seen'],
  ['total', 'Count', 'count'],
  ['spark', 'Last hour', ''],
  ['analysts', 'Analysts', ''],
]);
/** Sorts by text, which ascend unless turned round. */
const TEXTS = ['title', 'subject', 'stream', 'owner'];

/** @typedef {'asc' | 'desc'} Way */

/** Order of a sort unless chosen otherwise. @param {string} sort @returns {Way} */
export const usualOrder = (sort) => (TEXTS.includes(sort) ? 'asc' : 'desc');

/** @param {Way} way @returns {Way} */
const other = (way) => (way === 'asc' ? 'desc' : 'asc');

const WORDS = { asc: 'ascending', desc: 'descending' };

/**
 * Draws the heads, and the button beside the choice of the sort.
 * @param {string} sort @param {Way} way
 * @param {(sort: string, way: Way) => void} choose
 */
export function drawHeads(sort, way, choose) {
  const row = at('heads').firstElementChild;
  if (row) refill(row, ...COLUMNS.map(([name, label, by]) => head(name, label, by === sort ? way : null, by && (() => choose(by, by === sort ? other(way) : usualOrder(by))))));
  const turn = at('order');
  turn.textContent = way === 'asc' ? '↑' : '↓';
  turn.title = `Order: ${WORDS[way]}`;
  turn.setAttribute('aria-label', `Order: ${WORDS[way]}, reverse`);
  turn.onclick = () => choose(sort, other(way));
}

/** @param {string} name @param {string} label @param {Way | null} way @param {(() => void) | ''} choose */
function head(name, label, way, choose) {
  const made = el('span', { class: name, role: 'columnheader' }, choose ? el('button', { type: 'button', title: `Sort by ${label.toLowerCase()}`, onclick: choose }, label) : label);
  if (choose) made.setAttribute('aria-sort', way ? WORDS[way] : 'none');
  return made;
}
