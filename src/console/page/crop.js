// Crop of a finding's evidence for its card, with its age.

import { el } from './dom.js';
import { ago, full } from './format.js';
import { isRemote } from './health.js';
import { hasPlaces, regionsOf } from './regions.js';
import { enlargeable } from './viewer.js';

/** @import {Finding, Regions} from './types' */
/** @import {Mark} from './viewer.js' */

/** Time in ms that a card is seen before its crop is requested: in a burst most are seen for less. */
const LOOKED_AT = 300;

/** @type {WeakMap<Element, Finding>} */
const waiting = new WeakMap();
/** Timers of the cards that are seen. @type {WeakMap<Element, number>} */
const timers = new WeakMap();
const seen = new IntersectionObserver((entries) => {
  for (const { isIntersecting, target } of entries) {
    clearTimeout(timers.get(target));
    if (isIntersecting) timers.set(target, window.setTimeout(() => request(target), LOOKED_AT));
  }
});

/** @param {Element} figure */
function request(figure) {
  seen.unobserve(figure);
  const finding = waiting.get(figure);
  if (finding && figure.isConnected) regionsOf(finding).then((regions) => fillWith(figure, finding, regions), () => {});
}

/** Place of the crop in a card; null without evidence on the picture. @param {Finding} finding */
export function cropOf(finding) {
  if (!hasPlaces(finding)) return null;
  const made = el('figure', { class: 'crop' });
  waiting.set(made, finding);
  seen.observe(made);
  return made;
}

/** @param {Element} figure @param {Finding} finding @param {Regions} regions */
async function fillWith(figure, finding, { items, crop }) {
  if (!crop) {
    // Its picture is on another machine.
    if (await isRemote(finding.agent)) figure.append(el('figcaption', { class: 'quiet' }, 'No picture: reported by a remote analyst'));
    return;
  }
  const { stream, severity, observed_at: seen_at } = finding;
  /** @type {Mark[]} */
  const marks = items.flatMap(({ box }) => within(box, crop.area)).map((bounds) => ({ bounds, severity, strong: true }));
  const alt = `Evidence on ${stream}, ${full(seen_at)}`;
  figure.append(
    enlargeable({ url: crop.url, sha256: crop.sha256, seen_at, stream }, alt, marks),
    el('figcaption', { class: 'quiet' }, 'seen ', ago(seen_at)),
  );
}

/** A box of the picture as one of its crop, if all of it is there. @param {number[]} box @param {number[]} area @returns {number[][]} */
function within([top, left, bottom, right], [above, before, below, after]) {
  if (top < above || left < before || bottom > below || right > after) return [];
  /** @param {number} at @param {number} from @param {number} to */
  const share = (at, from, to) => (at - from) / (to - from) * 1000;
  return [[share(top, above, below), share(left, before, after), share(bottom, above, below), share(right, before, after)]];
}
