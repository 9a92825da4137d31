// Suppressions: what is kept from notifying, who decided it and why.

import { ask, removeSuppression, restoreSuppression } from './api.js';
import { known } from './dialog.js';
import { at, el, fill, foreign, mark, toIncident, words } from './dom.js';
import { ago, counted } from './format.js';
import { done } from './toast.js';

/** @import {List, Suppression} from './types' */

export async function show() {
  /** @type {List<Suppression>} */
  const { items } = await ask('/api/suppressions');
  at('unsuppressed').hidden = items.length > 0;
  fill(at('lessons'), ...items.map(row));
}

/** @param {Suppression} item */
function row(item) {
  const { id, incident, title, severity, by, at: when, why, covers, quieted, last_quieted: last } = item;
  return el(
    'li',
    { 'data-id': id },
    el('div', { class: 'about' },
      el('p', { class: 'head' }, mark(severity), ' ', toIncident(incident, title)),
      el('p', {}, 'Reason: ', foreign(why)),
      el('p', { class: 'quiet' }, 'Covers: ', foreign(covers), `; ${severity} and below`),
      el('p', { class: 'quiet' }, el('b', {}, counted(quieted, 'finding')), ' suppressed', ...(last ? [', last ', ago(last)] : []), ' · by ', el('b', {}, by), ' ', ago(when))),
    el('button', { type: 'button', class: 'act', 'aria-label': `Remove suppression: ${title}`, onclick: () => remove(item, show) }, 'Remove'),
  );
}

/**
 * Removes a suppression; it can be undone.
 * @param {Pick<Suppression, 'id' | 'title'>} suppression
 * @param {() => Promise<void>} reload
 */
export async function remove({ id, title }, reload) {
  if (!await known()) return;
  const tell = (/** @type {unknown} */ error) => done([words(error)], null);
  try {
    await removeSuppression(id);
    done(['Suppression removed: ', foreign(title)], () => restoreSuppression(id).then(reload).catch(tell));
    await reload();
  } catch (error) {
    tell(error);
  }
}
