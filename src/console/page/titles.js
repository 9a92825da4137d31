// Titles of the boxes on the live picture, each beside its box where the
// picture is blank: a title covers no text of the screen.

import { el } from './dom.js';

/** @import {Place} from './comparison.js' */

/** Gap in CSS pixels to the box, whose line is drawn around it. */
const GAP = 9;
/** Side in CSS pixels of the cells in which a place is looked at: about a stroke of a small letter. */
const CELL = 4;

/** @typedef {{where: string, place: Place}} Strip */
/** @typedef {{box: HTMLElement, strips: Strip[], free: Set<number>}} Title */

/**
 * Gives a box its title, which is not seen before a place for it is found.
 * @param {HTMLElement} box @param {string} text @param {number[]} bounds Of the box, in thousandths.
 * @param {HTMLElement} layer @param {() => number} next Makes an id.
 * @returns {Title}
 */
export function titled(box, text, bounds, layer, next) {
  const made = el('b', { dir: 'auto' }, text);
  box.replaceChildren(made);
  delete box.dataset.title;
  const { offsetWidth: width, offsetHeight: height } = made;
  const [across, down] = [1000 / layer.clientWidth, 1000 / layer.clientHeight];
  const [wide, tall, beside, below] = [width * across, height * down, GAP * across, GAP * down];
  const [top, left, bottom, right] = bounds;
  // Beside it, rows of text have room more often than above.
  /** @type {[where: string, top: number, left: number][]} */
  const places = [
    ['right', top, right + beside],
    ['above', top - below - tall, left],
    ['below', bottom + below, left],
    ['above-end', top - below - tall, right - wide],
    ['below-end', bottom + below, right - wide],
  ];
  const fits = width > 0 ? places.filter(([, y, x]) => x >= 0 && y >= 0 && x + wide <= 1000 && y + tall <= 1000) : [];
  const [columns, rows] = [Math.max(1, Math.round(width / CELL)), Math.max(1, Math.round(height / CELL))];
  const strips = fits.map(([where, y, x]) => ({ where, place: { id: next(), area: [y, x, y + tall, x + wide], columns, rows, seen: null } }));
  return { box, strips, free: new Set() };
}

/** Shows the title at the first place that is blank, or nowhere. @param {Title} title @param {number} id @param {boolean} isFree */
export function freed({ box, strips, free }, id, isFree) {
  if (isFree) free.add(id);
  else free.delete(id);
  const found = strips.find(({ place }) => free.has(place.id));
  if (found) box.dataset.title = found.where;
  else delete box.dataset.title;
}
