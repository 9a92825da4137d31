// Questions to whoever sits before the page.

import { at, el } from '/page/dom.js';
import { who } from '/page/api.js';

/**
 * Asks for these, and answers null when nobody wants to say.
 * @param {string} title
 * @param {{name: string, label: string, kind?: string, value?: string, required?: boolean}[]} fields
 * @returns {Promise<Record<string, any> | null>}
 */
export function question(title, fields) {
  const dialog = /** @type {HTMLDialogElement} */ (at('ask'));
  const inputs = fields.map(({ name, label, kind = 'text', value = '', required = true }) => el(
    'label',
    { class: kind },
    label,
    el('input', { name, type: kind, value, required: required && kind !== 'checkbox' }),
  ));
  const form = /** @type {HTMLFormElement} */ (el(
    'form',
    { method: 'dialog' },
    el('h2', {}, title),
    ...inputs,
    el('menu', {}, el('button', { value: 'ok' }, 'OK'), el('button', { value: '', type: 'button', onclick: () => dialog.close('') }, 'Cancel')),
  ));
  dialog.replaceChildren(form);
  dialog.returnValue = '';
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener('close', () => {
      if (dialog.returnValue !== 'ok') return resolve(null);
      const said = Object.fromEntries(new FormData(form));
      resolve(Object.fromEntries(fields.map(({ name, kind }) => [name, kind === 'checkbox' ? name in said : said[name]])));
    }, { once: true });
  });
}

/** Who decides: asked once, and kept on this machine. */
export async function known() {
  if (who.name) return true;
  const said = await question('Who decides?', [{ name: 'name', label: 'Your name, as others know you' }]);
  who.name = said?.name.trim() ?? '';
  return who.name !== '';
}

export function help() {
  const keys = {
    'j, k': 'next, previous incident', 'Enter, o': 'open it', x: 'select it', a: 'acknowledge', c: 'close, with a reason',
    r: 'reopen', n: 'note something', '.': 'show what is new', Escape: 'back', '1 to 7': 'the views', '?': 'this',
  };
  const dialog = /** @type {HTMLDialogElement} */ (at('ask'));
  const rows = Object.entries(keys).map(([key, what]) => el('div', {}, el('dt', {}, el('kbd', {}, key)), el('dd', {}, what)));
  dialog.replaceChildren(el('h2', {}, 'Keys'), el('dl', {}, ...rows), el('form', { method: 'dialog' }, el('button', {}, 'Close')));
  dialog.showModal();
}
