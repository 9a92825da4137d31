// Two stills of one screen, before and after, under a slider.

import { el } from './dom.js';
import { clock, full } from './format.js';
import { view } from './viewer.js';

/** @import {Still} from './types' */

/** Kept while its incident is drawn again, perhaps during a drag. @type {{of: string, made: HTMLElement | null}} */
let kept = { of: '', made: null };

/** @param {Still} before @param {Still} after */
export function compared(before, after) {
  const of = `${before.sha256} ${after.sha256}`;
  if (kept.of !== of || !kept.made) kept = { of, made: slider(before, after) };
  return kept.made;
}

/** @param {Still} before @param {Still} after */
function slider(before, after) {
  const later = el('img', { class: 'after', src: after.url, alt: `Screenshot after, ${full(after.seen_at)}`, loading: 'lazy', draggable: false });
  const shown = el('div', { class: 'picture' }, el('img', { src: before.url, alt: `Screenshot before, ${full(before.seen_at)}`, loading: 'lazy', draggable: false }), later);
  const range = /** @type {HTMLInputElement} */ (el('input', { type: 'range', min: '0', max: '100', step: '1', value: '50', 'aria-label': 'Before and after' }));
  const draw = () => {
    shown.style.setProperty('--at', `${range.value}%`);
    range.setAttribute('aria-valuetext', `left ${range.value} % before, rest after`);
  };
  range.addEventListener('input', draw);
  draw();
  /** @param {PointerEvent} event */
  const follow = ({ clientX, buttons }) => {
    if (!(buttons & 1)) return;
    const { left, width } = shown.getBoundingClientRect();
    range.value = String(Math.round((clientX - left) / width * 100));
    draw();
  };
  shown.addEventListener('pointerdown', (event) => {
    shown.setPointerCapture(event.pointerId);
    follow(event);
  });
  shown.addEventListener('pointermove', follow);
  /** @param {string} label @param {Still} still */
  const enlarge = (label, still) => el('button', { type: 'button', title: `Enlarge: ${label}`, onclick: () => view(still) }, `${label} `, clock(still.seen_at));
  return el('figure', { class: 'compare' }, shown, range, el('figcaption', { class: 'ends' }, enlarge('Before', before), enlarge('After', after)));
}
