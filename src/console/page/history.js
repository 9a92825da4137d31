// Stills over time, and what began meanwhile on each stream.

import { ask } from './api.js';
import { SEVERITIES, at, el, fill, words } from './dom.js';
import { clock, counted, duration } from './format.js';
import { Histogram } from './histogram.js';
import { drawLanes } from './lanes.js';
import { Pages } from './pages.js';
import { move, offerStreams, scopeRange, scopeStream, scopeTo, zoomOut } from './scope.js';
import { thumbnail } from './viewer.js';

/** @import {Histogram as Counts, Lanes, Still} from './types' */

/** Range unless one is chosen. */
const USUAL = '1h';
/** Stills per page, spaced to cover the chosen range. */
const STILLS = 200;
/** Minimum interval of stills in seconds. */
const NEAREST = 5;
/** Width of a column of the histogram in CSS pixels, and the most of them. */
const COLUMN = 12;
const MOST = 150;
/** Width of a step of the lanes in CSS pixels: marks are 24 wide, which a finger hits. */
const STEP = 28;
/** Space of the names of the lanes, in CSS pixels; as in the style sheet. */
const NAMES = 112;

const histogram = new Histogram(at('scale'), (from, to) => scopeTo(from, to));
/** @type {Pages<Still>} */
const stills = new Pages(at('moments'), (still) => el('li', { 'data-at': still.seen_at },
  thumbnail(still), el('span', { class: 'quiet' }, clock(still.seen_at), ` ${still.stream}`)));

at('earlier').addEventListener('click', () => move(-1, USUAL));
at('later').addEventListener('click', () => move(1, USUAL));
at('wider').addEventListener('click', () => zoomOut(USUAL));

/** Draws the lanes again when their width changes, as marks need their distance. */
let width = 0;
new ResizeObserver(() => {
  const now = at('lanes').clientWidth;
  if (now === width || now === 0 || at('history').hidden) return;
  const first = width === 0;
  width = now;
  if (!first) draw('');
}).observe(at('lanes'));

/** @param {URLSearchParams} query */
export function show(query) {
  return draw(query.get('at') ?? '');
}

let latest = 0;
/** @param {string} moment Time to show among the stills; empty for none. */
async function draw(moment) {
  const mine = ++latest;
  const range = scopeRange(USUAL);
  if (!range) return;
  const { from, to } = range;
  const stream = scopeStream() ? `&stream=${encodeURIComponent(scopeStream())}` : '';
  const [since, until] = [from, to].map((one) => encodeURIComponent(one.toISOString()));
  const length = to.getTime() - from.getTime();
  const apart = Math.ceil(length / 1000 / STILLS);
  const thinned = apart > NEAREST;
  const columns = Math.min(MOST, Math.max(20, Math.floor(at('scale').clientWidth / COLUMN)));
  const steps = Math.min(MOST, Math.max(6, Math.floor((at('lanes').clientWidth - NAMES) / STEP)));
  try {
    const [counts, lanes] = await Promise.all([
      /** @type {Promise<Counts>} */ (ask(`/api/incidents/histogram?from=${since}&to=${until}${stream}&buckets=${columns}`)),
      /** @type {Promise<Lanes>} */ (ask(`/api/incidents/lanes?from=${since}&to=${until}${stream}&buckets=${steps}`)),
      stills.start(`/api/moments?since=${since}&until=${until}${stream}${thinned ? `&every=${apart}` : ''}&limit=${STILLS}`),
    ]);
    // Another range was chosen meanwhile.
    if (mine !== latest) return;
    offerStreams(lanes.items.map((mark) => mark.stream));
    histogram.show(counts);
    drawLanes(at('lanes'), lanes, { from, to, steps, moment });
    const began = counts.buckets.reduce((sum, one) => sum + SEVERITIES.reduce((all, severity) => all + one[severity], 0), 0);
    at('past').textContent = `${counted(began, 'incident')}, ${stills.count('screenshot')}${thinned ? `: one per ${duration(apart)} and stream` : ''}`;
    if (moment) mark(Date.parse(moment));
  } catch (error) {
    if (mine !== latest) return;
    at('past').textContent = words(error);
    fill(at('lanes'));
    stills.clear();
  }
}

/** Marks the still that is nearest to a time. @param {number} time */
function mark(time) {
  const all = /** @type {HTMLElement[]} */ ([...at('moments').children]);
  const away = (/** @type {HTMLElement} */ one) => Math.abs(Date.parse(one.dataset.at ?? '') - time);
  const nearest = all.reduce((best, one) => (away(one) < away(best) ? one : best), all[0]);
  nearest?.classList.add('chosen');
  nearest?.scrollIntoView({ block: 'center' });
}
