// A lane of each stream with what began when; a mark that is pointed at or
// focused shows titles and the still of that time.

import { ask } from './api.js';
import { at, el, fill, foreign, mark } from './dom.js';
import { clock, counted, full, number, stamp, timed } from './format.js';
import { knownStreams, scopeStream } from './scope.js';

/** @import {LaneMark, Lanes, List, Still} from './types' */

/** Delay in ms before a preview: the pointer may only pass. */
const SOON = 120;
/** Delay of the still after the start of the incident, in ms. */
const AFTER = 2000;
/** Distance of the preview to its mark and the edge, in CSS pixels. */
const GAP = 8;

let waits = 0;

/**
 * @param {HTMLElement} where
 * @param {Lanes} lanes
 * @param {{from: Date, to: Date, steps: number, moment: string}} shown
 */
export function drawLanes(where, { items, more }, { from, to, steps, moment }) {
  hide();
  const length = to.getTime() - from.getTime();
  const streams = scopeStream() ? [scopeStream()] : [...new Set([...knownStreams(), ...items.map(({ stream }) => stream)])].sort();
  const share = (Date.parse(moment) - from.getTime()) / length * 100;
  fill(
    where,
    ...streams.map((stream) => {
      const track = el('div', { class: 'track' }, ...items.filter((one) => one.stream === stream).map((one) => tick(one, from.getTime(), length / steps, steps)));
      if (share >= 0 && share <= 100) {
        const line = el('span', { class: 'moment-line' });
        line.style.left = `${share}%`;
        track.append(line);
      }
      return el('div', { class: 'lane', role: 'group', 'aria-label': `Stream ${stream}` }, foreign(stream, 'span'), track);
    }),
    more && el('p', { class: 'quiet' }, 'Only the first 2,000 marks are shown: choose a stream or a shorter range'),
  );
}

/** @param {LaneMark} one @param {number} from @param {number} step @param {number} steps */
function tick(one, from, step, steps) {
  const [worst] = one.incidents;
  const nth = Math.round((Date.parse(one.at) - from) / step);
  const alone = one.count === 1;
  const [start, end] = [from + nth * step, from + (nth + 1) * step].map((time) => new Date(time));
  const among = { view: 'incidents', status: '', severities: '', agent: '', owner: '', snoozed: '', stream: one.stream, from: start.toISOString(), to: end.toISOString() };
  const made = el('a', {
    class: 'tick',
    href: alone ? `/?view=incidents&incident=${worst.id}` : `/?${new URLSearchParams(among)}`,
    'data-severity': worst.severity,
  }, el('span', { 'aria-hidden': 'true' }, alone ? worst.severity[0].toUpperCase() : String(one.count)));
  made.style.left = `${(nth + 0.5) / steps * 100}%`;
  const open = () => later(() => peek(made, one));
  made.addEventListener('pointerenter', ({ pointerType }) => pointerType === 'mouse' && open());
  made.addEventListener('pointerleave', hide);
  made.addEventListener('focus', open);
  made.addEventListener('blur', hide);
  return timed(made, () => {
    const titles = one.incidents.map(({ severity, title }) => `${severity}: ${title}`).join('; ');
    made.setAttribute('aria-label', alone ? `${titles}, ${full(worst.first_seen)}`
      : `${counted(one.count, 'incident')}, ${stamp(start, end)}: ${titles}`);
  });
}

/** @param {() => void} then */
function later(then) {
  clearTimeout(waits);
  waits = window.setTimeout(then, SOON);
}

function hide() {
  clearTimeout(waits);
  at('peek').hidden = true;
}

/** @param {HTMLElement} tick @param {LaneMark} one */
async function peek(tick, { stream, count, incidents }) {
  const box = at('peek');
  const picture = el('div', { class: 'still' });
  const rest = count - incidents.length;
  fill(
    box,
    picture,
    el('ul', {}, ...incidents.map(({ severity, title, first_seen }) => el('li', {}, mark(severity), ' ', foreign(title), ' ', clock(first_seen)))),
    rest > 0 && el('p', { class: 'quiet' }, `and ${number(rest)} more`),
  );
  box.hidden = false;
  beside(box, tick);
  const until = new Date(Date.parse(incidents[0].first_seen) + AFTER).toISOString();
  /** @type {List<Still> | null} */
  const page = await ask(`/api/moments?stream=${encodeURIComponent(stream)}&until=${until}&limit=1`).then((found) => /** @type {List<Still>} */ (found), () => null);
  const [still] = page?.items ?? [];
  // Another mark is shown meanwhile.
  if (!still || !picture.isConnected || box.hidden) return;
  const img = /** @type {HTMLImageElement} */ (el('img', { src: still.url, alt: '' }));
  img.addEventListener('load', () => beside(box, tick));
  fill(picture, img, el('span', { class: 'quiet' }, `${stream}, `, clock(still.seen_at)));
}

/** Places a preview below its mark, or above it. @param {HTMLElement} box @param {HTMLElement} tick */
function beside(box, tick) {
  const { left, width, top, bottom } = tick.getBoundingClientRect();
  const { offsetWidth, offsetHeight } = box;
  const most = document.documentElement.clientWidth - offsetWidth - GAP;
  box.style.left = `${Math.max(GAP, Math.min(left + width / 2 - offsetWidth / 2, most))}px`;
  const below = bottom + GAP + offsetHeight <= innerHeight;
  box.style.top = `${below ? bottom + GAP : Math.max(GAP, top - GAP - offsetHeight)}px`;
}
