// A question in words, answered from what was on the screens.

import { send } from '/page/api.js';
import { at, clock, el, fill } from '/page/dom.js';

export function prepare() {
  at('question').addEventListener('submit', async (event) => {
    event.preventDefault();
    const question = new FormData(/** @type {HTMLFormElement} */ (event.target)).get('question');
    try {
      const said = await send('/api/ask', { question });
      fill(at('answer'), el('p', {}, said.answer), said.known && el('ol', {}, ...said.citations.map(citation)));
    } catch (error) {
      fill(at('answer'), el('p', { role: 'alert' }, /** @type {Error} */ (error).message));
    }
  });
}

function citation({ at: when, stream, text, agent, incident }) {
  const what = incident ? el('a', { href: `/?view=incidents&incident=${incident}` }, `${agent}: ${text}`) : el('q', {}, text);
  return el('li', {}, clock(when), ` ${stream} `, what);
}
