// What stood on the screens and in findings, and when.

import { ask } from './api.js';
import { at, clock, el, fill, foreign, given, mark, toIncident, words } from './dom.js';
import { thumbnail } from './viewer.js';

/** @import {Finding, Hit, List} from './types' */

export function prepare() {
  at('query').addEventListener('submit', async (event) => {
    event.preventDefault();
    const q = given('query', 'q');
    history.replaceState(null, '', `/?view=search&q=${encodeURIComponent(q)}${location.hash}`);
    await find(q);
  });
}

/** @param {string} q */
export async function find(q) {
  /** @type {HTMLInputElement} */ (at('query').querySelector('input')).value = q;
  const wanted = encodeURIComponent(q);
  try {
    const [lines, findings] = await Promise.all([
      /** @type {Promise<List<Hit>>} */ (ask(`/api/search?limit=100&q=${wanted}`)),
      /** @type {Promise<List<Finding>>} */ (ask(`/api/findings?limit=50&q=${wanted}`)),
    ]);
    at('found').textContent = lines.items.length === 0 ? 'It did not stand on any screen that was read.'
      : `${lines.items.length}${lines.next ? ' or more' : ''} lines`;
    fill(at('hits'), ...lines.items.map(hit));
    at('reported').hidden = findings.items.length === 0;
    fill(at('matches'), ...findings.items.map(({ observed_at, agent, title, severity, incident }) => el(
      'li', {}, clock(observed_at), ' ', mark(severity), ` ${agent} `, incident ? toIncident(incident, title) : foreign(title))));
  } catch (error) {
    at('found').textContent = words(error);
    fill(at('hits'));
    fill(at('matches'));
  }
}

/** @param {Hit} hit */
const hit = ({ observed_at, stream, text, box, still }) => el(
  'li', {}, still && thumbnail(still, box), el('p', {}, clock(observed_at), ` ${stream} `, foreign(text, 'q')));
