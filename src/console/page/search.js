// What stood on the screens and in findings, and when.

import { ask } from '/page/api.js';
import { at, clock, el, mark } from '/page/dom.js';

export function prepare() {
  at('query').addEventListener('submit', async (event) => {
    event.preventDefault();
    const q = String(new FormData(/** @type {HTMLFormElement} */ (event.target)).get('q'));
    history.replaceState(null, '', `/?view=search&q=${encodeURIComponent(q)}`);
    await find(q);
  });
}

/** @param {string} q */
export async function find(q) {
  /** @type {HTMLInputElement} */ (document.querySelector('#query input')).value = q;
  at('hits').replaceChildren();
  try {
    const { items, next } = await ask(`/api/search?limit=100&q=${encodeURIComponent(q)}`);
    at('found').textContent = items.length === 0 ? 'It did not stand on any screen that was read.' : `${items.length}${next ? ' or more' : ''} lines`;
    const matches = await ask(`/api/findings?limit=50&q=${encodeURIComponent(q)}`);
    at('reported').hidden = matches.items.length === 0;
    at('matches').replaceChildren(...matches.items.map(({ observed_at, agent, title, severity, incident }) => el(
      'li', {}, clock(observed_at), ' ', mark(severity), ` ${agent} `, el('a', { href: `/?view=incidents&incident=${incident}` }, title))));
    at('hits').replaceChildren(...items.map(({ observed_at, stream, text }) => el(
      'li', {}, clock(observed_at), ` ${stream} `, el('q', {}, text))));
  } catch (error) {
    at('found').textContent = /** @type {Error} */ (error).message;
  }
}
