// Stills over time, and the starts of incidents.

import { ask } from './api.js';
import { SEVERITIES, at, el, fill, words } from './dom.js';
import { clock, counted, duration, full, minute, monthDay, timed } from './format.js';
import { Pages } from './pages.js';
import { Span } from './span.js';
import { thumbnail } from './viewer.js';

/** @import {Incident, List, Still} from './types' */

const HOUR = 3_600_000;
/** Share of the scale, in per cent, within which two marks are joined. */
const CLOSE = 0.6;
/** Distance between two marks, in CSS pixels. */
const TARGET = 25;

/** Stills per page, spaced to cover the chosen range. */
const STILLS = 200;
/** Minimum interval of stills in seconds. */
const NEAREST = 5;

/** @type {[number, string][]} */
const LENGTHS = [[0.25, '15 minutes'], [1, 'hour'], [8, '8 hours'], [24, 'day'], [168, 'week']];
const span = new Span(at('span'), LENGTHS, 1, draw);
/** @type {Pages<Still>} */
const stills = new Pages(at('moments'), (still) => el('li', {},
  thumbnail(still), el('span', { class: 'quiet' }, clock(still.seen_at), ` ${still.stream}`)));

at('scale').addEventListener('click', (event) => {
  if (/** @type {HTMLElement} */ (event.target).closest('a, button')) return;
  const { left, width } = at('scale').getBoundingClientRect();
  const { since, until } = span.range;
  const share = (event.clientX - left) / width;
  span.closer(new Date(since.getTime() + (until.getTime() - since.getTime()) * share));
});

/** @param {URLSearchParams} query */
export function show(query) {
  span.set(query);
  return draw();
}

let latest = 0;
async function draw() {
  const mine = ++latest;
  const { since, until } = span.range;
  const length = until.getTime() - since.getTime();
  const within = `since=${encodeURIComponent(since.toISOString())}&until=${encodeURIComponent(until.toISOString())}`;
  const apart = Math.ceil(length / 1000 / STILLS);
  const thinned = apart > NEAREST;
  try {
    const [incidents] = await Promise.all([
      /** @type {Promise<List<Incident>>} */ (ask(`/api/incidents?sort=first_seen&${within}&limit=1000`)),
      stills.start(`/api/moments?${within}${thinned ? `&every=${apart}` : ''}&limit=${STILLS}`),
    ]);
    // Another range was chosen meanwhile.
    if (mine !== latest) return;
    drawScale(incidents.items, since.getTime(), until.getTime());
    at('past').textContent = `${some(incidents, 'incident')}, ${stills.count('screenshot')}${thinned ? `: one per ${duration(apart)} and stream` : ''}`;
  } catch (error) {
    if (mine !== latest) return;
    at('past').textContent = words(error);
    redraw = () => {};
    fill(at('scale'));
    stills.clear();
  }
}

/** Redraws the scale when its width changes, as marks need their distance. */
let redraw = () => {};
new ResizeObserver(() => redraw()).observe(at('scale'));

/** @param {Incident[]} incidents @param {number} since @param {number} until */
function drawScale(incidents, since, until) {
  redraw = () => drawScale(incidents, since, until);
  const length = until - since;
  fill(
    at('scale'),
    ...[0, 25, 50, 75, 100].map((percent) => {
      const when = new Date(since + length * percent / 100);
      const shown = el('time', { dateTime: when.toISOString() });
      const tick = el('button', { type: 'button', class: 'hour', onclick: () => span.closer(when) }, shown);
      tick.style.left = `${percent}%`;
      return timed(tick, () => {
        shown.textContent = length > 24 * HOUR ? monthDay(when) : minute(when);
        tick.title = `Zoom to ${full(when)}`;
      });
    }),
    ...marks(incidents, since, (time) => (time - since) / length * 100),
  );
}

/** @param {List<unknown>} list @param {string} what */
const some = ({ items, next }, what) => `${next ? 'latest ' : ''}${counted(items.length, what)}`;

/** Incidents as marks far enough apart to be hit (WCAG 2.2, 2.5.8): those that
 * would be nearer share one, which leads to the worst of them.
 * @param {Incident[]} incidents @param {number} since @param {(time: number) => number} across */
function marks(incidents, since, across) {
  const width = at('scale').clientWidth;
  const apart = width > 0 ? Math.max(CLOSE, TARGET / width * 100) : CLOSE;
  /** @param {Incident} incident */
  const rank = (incident) => SEVERITIES.indexOf(incident.severity);
  /** @type {{incident: Incident, left: number, count: number}[]} */
  const groups = [];
  const placed = incidents.map((incident) => ({ incident, left: across(Math.max(Date.parse(incident.first_seen), since)), count: 1 }));
  for (const one of placed.sort((x, y) => x.left - y.left)) {
    const group = groups.at(-1);
    if (group && one.left - group.left < apart) {
      group.count += 1;
      if (rank(one.incident) > rank(group.incident)) group.incident = one.incident;
    } else groups.push(one);
  }
  return groups.map(({ incident, left, count }) => {
    const others = count > 1 ? ` and ${count - 1} more` : '';
    const mark = el('a', {
      href: `/?view=incidents&incident=${incident.id}`,
      class: 'tick',
      'data-severity': incident.severity,
      'aria-label': `${incident.severity}: ${incident.title}${others}`,
    });
    mark.style.left = `${left}%`;
    return timed(mark, () => { mark.title = `${incident.title}${others}, ${full(incident.first_seen)}`; });
  });
}
