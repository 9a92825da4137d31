// Search over screen text and findings.

import { at, el, foreign, given, mark, toIncident, words } from './dom.js';
import { clock } from './format.js';
import { Pages } from './pages.js';
import { scopeParams, scopeRange, scopeStream } from './scope.js';
import { thumbnail } from './viewer.js';

/** @import {Finding, Hit} from './types' */

export function prepare() {
  at('query').addEventListener('submit', async (event) => {
    event.preventDefault();
    const q = given('query', 'q');
    history.replaceState(null, '', `/?${new URLSearchParams({ view: 'search', ...scopeParams(), q })}${location.hash}`);
    await find(q);
  });
}

/** @type {Pages<Hit>} */
const lines = new Pages(at('hits'), ({ observed_at, stream, text, box, still }) => el(
  'li', {}, still && thumbnail(still, box), el('p', {}, clock(observed_at), ` ${stream} `, foreign(text, 'q'))));
/** @type {Pages<Finding>} */
const findings = new Pages(at('matches'), ({ observed_at, agent, title, severity, incident }) => el(
  'li', {}, clock(observed_at), ' ', mark(severity), ` ${agent} `, incident ? toIncident(incident, title) : foreign(title)));

/** @param {string} q */
export async function find(q) {
  /** @type {HTMLInputElement} */ (at('query').querySelector('input')).value = q;
  const wanted = new URLSearchParams({ q });
  const range = scopeRange();
  if (range) wanted.set('since', range.from.toISOString());
  if (range && !range.open) wanted.set('until', range.to.toISOString());
  if (scopeStream()) wanted.set('stream', scopeStream());
  try {
    await Promise.all([
      lines.start(`/api/search?limit=100&${wanted}`),
      findings.start(`/api/findings?limit=50&${wanted}`),
    ]);
    at('found').textContent = lines.length === 0 ? `No results${range || scopeStream() ? ' in this time range and stream' : ''}` : lines.count('line');
    at('reported').hidden = findings.length === 0;
  } catch (error) {
    at('found').textContent = words(error);
    lines.clear();
    findings.clear();
    at('reported').hidden = true;
  }
}
