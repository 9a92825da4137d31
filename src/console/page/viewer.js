// Still at full size, with its evidence marked.

import { at, el, fill, place } from './dom.js';
import { clock, full, timed } from './format.js';

/** @import {Still} from './types' */

/**
 * @param {Pick<Still, 'url' | 'seen_at' | 'stream' | 'sha256'>} still
 * @param {number[] | null} [bounds]
 */
export function view({ url, seen_at, stream, sha256 }, bounds) {
  const dialog = /** @type {HTMLDialogElement} */ (at('viewer'));
  fill(
    dialog,
    picture(url, `${stream} at ${full(seen_at)}`, bounds ? [bounds] : []),
    el('p', { class: 'quiet' }, `${stream}, `, clock(seen_at), el('code', { title: 'SHA-256 of the image' }, ` ${sha256}`)),
    el('form', { method: 'dialog' }, el('button', { autofocus: true }, 'Close')),
  );
  dialog.showModal();
}

/**
 * @param {string} url
 * @param {string} alt
 * @param {number[][]} boxes
 * @param {string} [severity]
 */
export function picture(url, alt, boxes, severity = 'low') {
  return el('div', { class: 'picture' }, el('img', { src: url, alt, loading: 'lazy' }), ...boxes.map((bounds) => {
    const box = el('span', { class: 'box', 'data-severity': severity });
    place(box, bounds);
    return box;
  }));
}

/**
 * Thumbnail that opens the viewer.
 * @param {Still} still
 * @param {number[] | null} [bounds]
 */
export function thumbnail(still, bounds) {
  const shown = picture(still.url, '', bounds ? [bounds] : []);
  const button = el('button', { type: 'button', class: 'thumbnail', onclick: () => view(still, bounds) }, shown);
  return timed(button, () => {
    const name = `${still.stream} at ${full(still.seen_at)}`;
    button.title = name;
    shown.querySelector('img')?.setAttribute('alt', `Screenshot of ${name}`);
  });
}
