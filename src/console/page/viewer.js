// Still at full size, with its evidence marked: it zooms, pans, downloads.

import { Zoom } from './zoom.js';
import { at, el, fill, place } from './dom.js';
import { clock, full, timed, utc } from './format.js';

/** @import {Severity, Still} from './types' */

/** Place on a picture; strong where it makes the severity. @typedef {{bounds: number[], severity: Severity, strong: boolean}} Mark */
/** @typedef {Pick<Still, 'url' | 'seen_at' | 'stream' | 'sha256'>} Shown */

/** Mark of a place found by search. @param {number[] | null} [bounds] @returns {Mark[]} */
const found = (bounds) => (bounds ? [{ bounds, severity: 'low', strong: true }] : []);

/** @type {Zoom | null} */
let zoom = null;

/** @param {Shown} still @param {Mark[]} [marks] */
export function view({ url, seen_at, stream, sha256 }, marks = []) {
  const dialog = /** @type {HTMLDialogElement} */ (at('viewer'));
  const shown = picture(url, `${stream} at ${full(seen_at)}`, marks);
  const frame = el('div', { class: 'frame', tabIndex: 0, role: 'group', 'aria-label': 'Screenshot: + and - zoom, arrow keys pan, 0 fits' }, shown);
  const percent = el('output', { class: 'quiet', 'aria-label': 'Zoom' });
  const whole = around(marks);
  const toEvidence = () => whole && zoom?.show(whole);
  /** @param {string} label @param {string} key @param {() => void} onclick @param {string} [text] */
  const button = (label, key, onclick, text = label) => el('button', { type: 'button', title: `${label} (${key})`, 'aria-label': label, 'aria-keyshortcuts': key, onclick }, text);
  const name = `${stream}_${utc(seen_at).replace(/\D+/g, '-').replace(/-$/, '')}.jpg`;
  fill(
    dialog,
    el('div', { class: 'bar' },
      button('Zoom out', '-', () => zoom?.out(), '−'), button('Zoom in', '+', () => zoom?.in(), '+'), button('Fit', '0', () => zoom?.fit()),
      whole && button('Evidence', 'e', toEvidence), percent,
      el('span', { class: 'spring' }),
      el('a', { class: 'button', href: url, download: name, title: 'Download the image' }, 'Download'),
      el('form', { method: 'dialog' }, el('button', { autofocus: true }, 'Close'))),
    frame,
    el('p', { class: 'quiet' }, `${stream}, `, clock(seen_at), el('code', { title: 'SHA-256 of the image' }, ` ${sha256}`)),
  );
  dialog.onkeydown = (event) => {
    if (event.key === 'e' && whole) toEvidence();
    else if (!zoom?.key(event)) return;
    event.preventDefault();
  };
  dialog.showModal();
  zoom = new Zoom(frame, shown, (scale) => { percent.textContent = `${Math.round(scale * 100)} %`; });
}

/** Bounds of all strong marks; null without one. @param {Mark[]} marks @returns {number[] | null} */
function around(marks) {
  const bounds = marks.filter(({ strong }) => strong).map((one) => one.bounds);
  if (bounds.length === 0) return null;
  const all = (/** @type {number} */ side) => bounds.map((one) => one[side]);
  return [Math.min(...all(0)), Math.min(...all(1)), Math.max(...all(2)), Math.max(...all(3))];
}

/** @param {string} url @param {string} alt @param {Mark[]} marks */
export function picture(url, alt, marks) {
  // Strong ones on top.
  const sorted = [...marks].sort((one, other) => Number(one.strong) - Number(other.strong));
  return el('div', { class: 'picture' }, el('img', { src: url, alt, loading: 'lazy', draggable: false }), ...sorted.map(({ bounds, severity, strong }) => {
    const box = el('span', { class: strong ? 'box' : 'box thin', 'data-severity': severity });
    place(box, bounds);
    return box;
  }));
}

/** Picture of evidence, which opens the viewer. @param {Shown} still @param {string} alt @param {Mark[]} marks */
export const enlargeable = (still, alt, marks) => el('button', { type: 'button', class: 'enlarge', title: 'Enlarge', onclick: () => view(still, marks) },
  picture(still.url, alt, marks));

/**
 * Thumbnail that opens the viewer.
 * @param {Still} still
 * @param {number[] | null} [bounds]
 */
export function thumbnail(still, bounds) {
  const shown = picture(still.url, '', found(bounds));
  const button = el('button', { type: 'button', class: 'thumbnail', onclick: () => view(still, found(bounds)) }, shown);
  return timed(button, () => {
    const name = `${still.stream} at ${full(still.seen_at)}`;
    button.title = name;
    shown.querySelector('img')?.setAttribute('alt', `Screenshot of ${name}`);
  });
}
