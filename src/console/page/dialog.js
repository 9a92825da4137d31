// Dialogs for user input.

import { at, el, fill, foreign } from './dom.js';
import { who } from './api.js';
import { TIME_FIELD } from './format.js';

/** @typedef {{name: string, label: string, kind?: string, value?: string, longest?: number, optional?: boolean, options?: [value: string, label: string][]}} Field */

const dialog = () => /** @type {HTMLDialogElement} */ (at('ask'));

/**
 * Shows a form of these fields; null when cancelled.
 * @param {string} title
 * @param {string} action Label of the button that confirms.
 * @param {Field[]} fields
 * @param {string} [about] Text of a screen or a model, shown in the form.
 * @param {string} [note] Consequence of it.
 * @returns {Promise<Record<string, FormDataEntryValue | boolean> | null>}
 */
export function question(title, action, fields, about = '', note = '') {
  const box = dialog();
  const inputs = fields.map(({ name, label, kind = 'text', value = '', longest = 2000, optional = false, options }) => el(
    'label',
    { class: kind },
    label,
    options
      ? el('select', { name }, ...options.map(([value, label]) => new Option(label, value)))
      : el('input', { name, ...(kind === 'when' ? TIME_FIELD : { type: kind }), value, maxLength: longest, required: !optional && kind !== 'checkbox' }),
  ));
  const form = /** @type {HTMLFormElement} */ (el(
    'form',
    { method: 'dialog' },
    el('h2', {}, title),
    about && foreign(about, 'p'),
    note && el('p', { class: 'quiet' }, note),
    ...inputs,
    el('menu', {},
      el('li', {}, el('button', { value: 'ok' }, action)),
      el('li', {}, el('button', { type: 'button', onclick: () => box.close('') }, 'Cancel'))),
  ));
  fill(box, form);
  box.returnValue = '';
  box.showModal();
  return new Promise((resolve) => {
    box.addEventListener('close', () => {
      if (box.returnValue !== 'ok') return resolve(null);
      const data = new FormData(form);
      resolve(Object.fromEntries(fields.map(({ name, kind }) => [name, kind === 'checkbox' ? data.has(name) : data.get(name) ?? ''])));
    }, { once: true });
  });
}

/** Prompts for the user's name, once, and keeps it in the browser. */
export async function known() {
  if (who.name) return true;
  const answer = await question('Your name', 'Save', [{ name: 'name', label: 'Name shown with your actions', longest: 100 }]);
  who.name = String(answer?.name ?? '').trim();
  return who.name !== '';
}

/** @type {Record<string, string>} */
const KEYS = {
  'j, k': 'Next, previous incident', 'Enter, o': 'Open incident', 'x, X': 'Select, select range', '*': 'Select all loaded, or none',
  a: 'Acknowledge', c: 'Close with a reason', f: 'Close as false positive', r: 'Reopen', i: 'Assign', s: 'Snooze', n: 'Add note', u: 'Undo the last action',
  '.': 'Show new incidents', Escape: 'Clear selection, back to the list',
  'f, g, m, p': 'Live: full screen, grid, sound, picture in picture', '+, -, 0': 'Live: zoom in, zoom out, whole picture',
  'Ctrl K': 'Commands', '1 to 9': 'Switch view', '/': 'Search', t: 'Time range (Incidents, Search, History)', '?': 'Keyboard shortcuts',
};

export function help() {
  const rows = Object.entries(KEYS).map(([key, what]) => el('div', {}, el('dt', {}, el('kbd', {}, key)), el('dd', {}, what)));
  fill(
    dialog(),
    el('h2', {}, 'Keyboard shortcuts'),
    el('dl', {}, ...rows),
    who.name && el('p', { class: 'quiet' }, `Signed in as ${who.name}. `, el('button', { type: 'button', onclick: forget }, 'Switch user')),
    el('form', { method: 'dialog' }, el('button', {}, 'Close')),
  );
  dialog().showModal();
}

function forget() {
  who.name = '';
  dialog().close();
}
