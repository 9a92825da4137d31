// Question about past screens, and its answer.

import { send } from './api.js';
import { at, el, fill, foreign, given, toIncident, words } from './dom.js';
import { clock, foreignTimed, modelName, usd } from './format.js';
import { thumbnail } from './viewer.js';

/** @import {Answer, Citation} from './types' */

export function prepare() {
  at('question').addEventListener('submit', async (event) => {
    event.preventDefault();
    const button = /** @type {HTMLButtonElement} */ (at('question').querySelector('button'));
    button.disabled = true;
    fill(at('answer'), el('p', { class: 'quiet' }, 'Searching…'));
    try {
      /** @type {Answer} */
      const response = await send('/api/ask', { question: given('question', 'question') });
      fill(
        at('answer'),
        foreignTimed(response.answer, 'p'),
        response.known && el('ol', {}, ...response.citations.map(citation)),
        response.note && el('p', { class: 'note' }, response.note),
        el('p', { class: 'quiet' }, by(response)),
      );
    } catch (error) {
      fill(at('answer'), el('p', { role: 'alert' }, words(error)));
    } finally {
      button.disabled = false;
    }
  });
}

/** @param {Answer} answer */
const by = ({ by: who, model, cost }) => (who === 'model' && model
  ? `Answered by ${modelName(model.provider, model.name)}${cost ? `, ${usd(cost.micro_usd)}` : ''}. Sources: screen text and findings.`
  : 'Answered without a model');

/** @param {Citation} citation */
const citation = ({ at: when, stream, text, agent, incident, box, still }) => el(
  'li',
  {},
  still && thumbnail(still, box),
  el('p', {}, clock(when), ` ${stream} `,
    incident ? el('span', {}, `${agent}: `, toIncident(incident, text)) : foreign(text, 'q')),
);
