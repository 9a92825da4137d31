// Dead letters of a sink: events its receiver has rejected, with redelivery.

import { ask, send } from './api.js';
import { el, fill, foreign, words } from './dom.js';
import { clock, number } from './format.js';

/** @import {Buried, List, Sink} from './types' */

/** Loaded when opened: there may be many. @param {Sink} sink */
export function deadLetters({ name, dead }) {
  const list = el('div', {}, 'Loading…');
  return el('details', {
    class: 'dead',
    /** @param {Event} event */
    ontoggle: (event) => /** @type {HTMLDetailsElement} */ (event.target).open && show(list, name),
  }, el('summary', {}, `Dead letters: ${name} (${number(dead)})`), list);
}

/** @param {Element} list @param {string} sink @param {string} [cursor] */
async function show(list, sink, cursor) {
  try {
    /** @type {List<Buried>} */
    const { items, next } = await ask(`/api/sinks/${encodeURIComponent(sink)}/dead${cursor ? `?cursor=${cursor}` : ''}`);
    const further = el('div', {});
    if (next) fill(further, el('button', { type: 'button', onclick: () => show(further, sink, next) }, 'Show more'));
    fill(list, items.length === 0 ? el('p', {}, 'None') : el('ul', {}, ...items.map((letter) => row(sink, letter))), further);
  } catch (error) {
    fill(list, el('p', { role: 'alert' }, words(error)));
  }
}

/** @param {string} sink @param {Buried} letter */
function row(sink, { event, at, why, body }) {
  const output = el('output', { role: 'status' });
  const button = /** @type {HTMLButtonElement} */ (el('button', { type: 'button', onclick: again }, 'Resend'));
  async function again() {
    button.disabled = true;
    try {
      await send(`/api/sinks/${encodeURIComponent(sink)}/dead/${event}`, {});
      fill(output, 'Queued for delivery');
    } catch (error) {
      fill(output, words(error));
      button.disabled = false;
    }
  }
  const title = /** @type {{message?: unknown}} */ (body)?.message;
  return el('li', {}, clock(at), ' ', foreign(String(title ?? event), 'b'), ' ', foreign(why), ' ', button, ' ', output);
}
