// Share links of the console: made for a stream, handed out as a URL or a QR
// code, and revoked.

import { ask, send } from './api.js';
import { copyButton } from './clipboard.js';
import { at, el, fill, given, svg, words } from './dom.js';
import { ago, clock } from './format.js';

/** @import {List, Shared, ShareMade} from './types' */

const ID = 'share-links';

/** Dialog, made when it is opened first. */
function dialog() {
  const there = document.getElementById(ID);
  if (there) return /** @type {HTMLDialogElement} */ (there);
  const box = /** @type {HTMLDialogElement} */ (el('dialog', { id: ID, 'aria-labelledby': 'share-links-title' }));
  document.body.append(box);
  return box;
}

/** Ways in without an encoder: this browser, or a link for another. */
export const ways = () => el('p', { class: 'ways' },
  el('a', { class: 'primary', href: '/share/team', target: '_blank' }, 'Share this screen'),
  el('button', { type: 'button', onclick: () => openSharing('team') }, 'Share link for somebody else'));

/** @param {() => string} stream Stream that is shown. */
export function prepareSharing(stream) {
  at('share-link').addEventListener('click', () => openSharing(stream() || 'team'));
}

/** @param {string} stream */
export async function openSharing(stream) {
  const box = dialog();
  const said = el('p', { role: 'alert' });
  const made = el('div', { id: 'share-made', 'aria-live': 'polite' });
  const list = el('div', { id: 'share-list' });
  const form = /** @type {HTMLFormElement} */ (el('form', { id: 'share-form' },
    el('label', {}, 'Stream', el('input', { name: 'stream', value: stream, required: true, maxLength: 64, pattern: '[A-Za-z0-9_\\-][A-Za-z0-9._\\-]*', title: 'Letters, digits, dot, underscore and hyphen', autocomplete: 'off' })),
    el('label', {}, 'Valid for', el('select', { name: 'uses', autocomplete: 'off' }, ...[['once', 'one session, within 8 hours'], ['1', '1 hour'], ['8', '8 hours'], ['24', '1 day'], ['168', '1 week']].map(([value, text]) => new Option(text, value)))),
    el('label', { class: 'checkbox' }, 'The person who shares sees the findings of the stream', el('input', { name: 'findings', type: 'checkbox', autocomplete: 'off' })),
    el('button', {}, 'Create link')));
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    said.textContent = '';
    try {
      fill(made, ...shown(await created(form)));
      made.querySelector('button')?.focus();
      await drawList(list, said);
    } catch (error) {
      said.textContent = words(error);
    }
  });
  fill(box,
    el('h2', { id: 'share-links-title' }, 'Share link'),
    el('p', { class: 'quiet' }, 'Opens a page that shares a screen, window or tab from a browser: no encoder, no key.'),
    form, made, said, list,
    el('menu', {}, el('li', {}, el('button', { type: 'button', onclick: () => box.close() }, 'Close'))));
  // The token is not left in the page.
  box.addEventListener('close', () => fill(box), { once: true });
  box.showModal();
  await drawList(list, said);
}

/** @param {HTMLFormElement} form @returns {Promise<ShareMade>} */
const created = (form) => {
  const uses = given(form.id, 'uses');
  return send('/api/shares', {
    stream: given(form.id, 'stream').trim(),
    uses: uses === 'once' ? 'once' : 'hours',
    ...uses !== 'once' && { hours: Number(uses) },
    findings: given(form.id, 'findings') === 'on',
  });
};

/** @param {ShareMade} link */
function shown({ url, qr, expires_at }) {
  const away = qr.side + 8;
  const code = svg('svg', { class: 'qr', viewBox: `-4 -4 ${away} ${away}`, role: 'img', 'aria-label': 'QR code of the link' },
    svg('rect', { x: -4, y: -4, width: away, height: away, fill: '#fff' }), svg('path', { d: qr.path, fill: '#000', 'shape-rendering': 'crispEdges' }));
  const { hostname, protocol } = new URL(url);
  const local = ['localhost', '127.0.0.1', '[::1]'].includes(hostname);
  return [
    code,
    el('div', {},
      el('p', {}, el('input', { value: url, readOnly: true, 'aria-label': 'Share link' }), ' ', copyButton('Copy', () => url, 'Copy share link')),
      el('p', { class: 'quiet' }, 'Shown this once. Expires ', clock(expires_at), '.'),
      local ? el('p', { class: 'note' }, 'Works on this computer only: open the console at its public address to make links for others.')
        : protocol === 'http:' && el('p', { class: 'note' }, 'Browsers share a screen only over HTTPS: set up TLS, or a proxy with a certificate.')),
  ];
}

/** @param {HTMLElement} list @param {HTMLElement} said */
async function drawList(list, said) {
  try {
    /** @type {List<Shared>} */
    const { items } = await ask('/api/shares');
    const valid = items.filter(({ state }) => state === 'open' || state === 'used');
    fill(list, valid.length > 0 && el('h3', {}, 'Valid links'), valid.length > 0 && el('ul', {}, ...valid.map((link) => row(link, list, said))));
  } catch (error) {
    said.textContent = words(error);
  }
}

/** @param {Shared} link @param {HTMLElement} list @param {HTMLElement} said */
function row({ id, stream, uses, state, created_at, expires_at }, list, said) {
  const revoke = async () => {
    try {
      await ask(`/api/shares/${id}`, { method: 'DELETE' });
      await drawList(list, said);
    } catch (error) {
      said.textContent = words(error);
    }
  };
  return el('li', {},
    el('b', {}, stream),
    el('span', { class: 'quiet' }, uses === 'once' ? (state === 'used' ? 'one session, in use' : 'one session') : 'any number of sessions', ', created ', ago(created_at), ', expires ', clock(expires_at)),
    el('button', { type: 'button', onclick: revoke, 'aria-label': `Revoke the link for ${stream}` }, 'Revoke'));
}
