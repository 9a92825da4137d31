// Handing a shift over: a message for the next one, and who took it over.

import { ask, send, who } from './api.js';
import { known } from './dialog.js';
import { at, el, fill, foreign, plain, words } from './dom.js';
import { clock, full, utc } from './format.js';
import { done } from './toast.js';

/** @import {List, SignedHandover} from './types' */

/** Handovers listed. */
const SHOWN = 10;
/** Unsent message, kept in the browser. */
const DRAFT = 'watchtower.handover';

/** @type {SignedHandover[]} */
let handovers = [];
/** @type {() => {since: Date, until: Date}} */
let range = () => ({ since: new Date(), until: new Date() });
/** @type {() => void} */
let changed = () => {};

/** Prepares the form. @param {() => {since: Date, until: Date}} shift Range of the report. @param {() => void} whenChanged */
export function prepare(shift, whenChanged) {
  [range, changed] = [shift, whenChanged];
  const message = /** @type {HTMLTextAreaElement} */ (el('textarea', { name: 'message', rows: 3, maxLength: 10_000, value: localStorage.getItem(DRAFT) ?? '' }));
  message.addEventListener('input', () => localStorage.setItem(DRAFT, message.value));
  const form = el('form', { id: 'handing' },
    el('label', {}, 'Message for the next shift', message),
    el('button', { id: 'hand-over' }, 'Hand over'));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    if (await known()) await give(message);
  });
  fill(at('signoff'), form, el('ol', { id: 'handovers', 'aria-label': 'Handovers' }));
}

export async function load() {
  /** @type {List<SignedHandover>} */
  const { items } = await ask(`/api/handovers?limit=${SHOWN}`);
  handovers = items;
  draw();
  changed();
}

/** @param {HTMLTextAreaElement} message */
async function give(message) {
  const { since, until } = range();
  try {
    await send('/api/handovers', { by: who.name, since, until, message: message.value });
    message.value = '';
    localStorage.removeItem(DRAFT);
    await load();
    done(['Handed over. The next shift takes over here.'], null);
  } catch (error) {
    done([words(error)], null);
  }
}

/** @param {SignedHandover} handover */
async function take({ id }) {
  if (!await known()) return;
  try {
    await send(`/api/handovers/${id}/sign-off`, { by: who.name });
    done(['Taken over'], null);
  } catch (error) {
    done([words(error)], null);
  }
  await load().catch((error) => done([words(error)], null));
}

function draw() {
  fill(at('handovers'), ...handovers.map((handover) => {
    const { id, by, at: when, since, until, message, taken_by, taken_at } = handover;
    return el(
      'li',
      { 'data-id': id, 'data-open': taken_by === null },
      el('div', { class: 'about' },
        el('p', {}, el('b', {}, by), ' handed over ', clock(when), el('span', { class: 'quiet' }, ' · shift ', clock(since), ' to ', clock(until))),
        message && foreign(message, 'p'),
        taken_by && taken_at ? el('p', { class: 'quiet' }, 'Taken over by ', el('b', {}, taken_by), ' ', clock(taken_at)) : el('p', { class: 'note' }, 'Not taken over yet')),
      !taken_by && el('button', { type: 'button', 'aria-label': `Take over from ${by}`, onclick: () => take(handover) }, 'Take over'),
    );
  }));
}

/** Handovers of a range, for the report. @param {string} since @param {string} until */
const within = (since, until) => handovers.filter((one) => Date.parse(one.until) > Date.parse(since) && Date.parse(one.since) < Date.parse(until));

/** Messages and signatures in the report. @param {string} since @param {string} until */
export function signed(since, until) {
  const found = within(since, until);
  if (found.length === 0) return null;
  return el('section', {}, el('h3', {}, 'Sign-off'), el('ol', {}, ...found.map(({ by, at: when, message, taken_by, taken_at }) => el('li', {},
    el('b', {}, by), ' handed over ', full(when), taken_by && taken_at ? ` · taken over by ${taken_by} ${full(taken_at)}` : ' · not taken over yet',
    message && foreign(message, 'blockquote')))));
}

/** The same for a file. @param {string} since @param {string} until @returns {string[]} */
export const signedMarkdown = (since, until) => within(since, until).map(({ by, at: when, message, taken_by, taken_at }) => (
  `- ${plain(by)} handed over ${utc(when)}; ${taken_by && taken_at ? `taken over by ${plain(taken_by)} ${utc(taken_at)}` : 'not taken over yet'}${message && `: ${plain(message)}`}`));
