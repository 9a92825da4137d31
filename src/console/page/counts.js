// Counts of open critical incidents: in the navigation, the title and the icon.

import { ask, serverNow } from './api.js';
import { at, el, fill } from './dom.js';
import { counted, number } from './format.js';

/** @import {Counts} from './types' */

/** Shortest and longest interval of requests in ms. */
const AGAIN = 1000;
const AT_LEAST = 30_000;
/** Highest count that the icon shows; it is `9` from there on. */
const MOST_ON_ICON = 9;

let title = 'Watchtower';
let criticals = 0;
let waits = 0;
let wake = 0;
/** @type {() => void} */
let woken = () => {};

/** Sets the title of the view. @param {string} text */
export function entitle(text) {
  title = text;
  show();
}

function show() {
  document.title = criticals > 0 ? `(${number(criticals)}) ${title}` : title;
  const icon = /** @type {HTMLLinkElement} */ (at('icon'));
  const wanted = criticals > 0 ? `/page/icon-${Math.min(criticals, MOST_ON_ICON)}.svg` : '/page/icon.svg';
  if (icon.getAttribute('href') !== wanted) icon.href = wanted;
  const badge = at('criticals');
  badge.hidden = criticals === 0;
  badge.title = `${counted(criticals, 'open critical incident')}`;
  fill(badge, number(criticals), el('span', { class: 'unseen' }, ' critical'));
}

/** Requests the counts soon; several calls are one request. */
export function recount() {
  if (waits) return;
  waits = window.setTimeout(() => {
    waits = 0;
    count();
  }, AGAIN);
}

async function count() {
  /** @type {Counts} */
  let counts;
  try {
    counts = await ask('/api/incidents/counts');
  } catch {
    // The connection's own notice says so; the next interval tries again.
    return;
  }
  criticals = counts.critical;
  show();
  clearTimeout(wake);
  if (!counts.next_snooze_end) return;
  const left = Date.parse(counts.next_snooze_end) - serverNow();
  // A longer one is counted again before it ends.
  if (left < 2 * AT_LEAST) {
    wake = window.setTimeout(() => {
      woken();
      count();
    }, Math.max(0, left) + AGAIN);
  }
}

/** Counts from now on. @param {() => void} back Called when a snooze has ended. */
export function countAlways(back) {
  woken = back;
  count();
  setInterval(count, AT_LEAST);
}
