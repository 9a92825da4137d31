// What the screens looked like, and when incidents began.

import { ask } from './api.js';
import { at, clock, el, fill, given } from './dom.js';
import { thumbnail } from './viewer.js';

/** @import {Incident, List, Still} from './types' */

const HOUR = 3_600_000;
/** Marks of one severity that stand closer than this, in per cent, are one. */
const CLOSE = 0.6;

export function prepare() {
  at('span').addEventListener('change', show);
  at('span').addEventListener('submit', (event) => event.preventDefault());
}

export async function show() {
  const until = Date.now();
  const since = until - Number(given('span', 'hours')) * HOUR;
  const from = encodeURIComponent(new Date(since).toISOString());
  const [incidents, moments] = await Promise.all([
    /** @type {Promise<List<Incident>>} */ (ask(`/api/incidents?sort=first_seen&since=${from}&limit=1000`)),
    /** @type {Promise<List<Still>>} */ (ask(`/api/moments?since=${from}&limit=200`)),
  ]);
  /** @param {number} time */
  const across = (time) => (time - since) / (until - since) * 100;
  fill(
    at('scale'),
    ...[0, 25, 50, 75, 100].map((percent) => {
      const when = new Date(since + (until - since) * percent / 100);
      const tick = el('time', { dateTime: when.toISOString(), title: when.toISOString(), class: 'hour' }, hour(when, until - since));
      tick.style.left = `${percent}%`;
      return tick;
    }),
    ...marks(incidents.items, since, across),
  );
  at('past').textContent = `${some(incidents, 'incident')}, ${some(moments, 'still')}`;
  fill(at('moments'), ...moments.items.map((still) => el('li', {},
    thumbnail(still), el('span', { class: 'quiet' }, clock(still.seen_at), ` ${still.stream}`))));
}

/** @param {List<unknown>} list @param {string} what */
const some = ({ items, next }, what) => `${next ? 'the newest ' : ''}${items.length} ${what}${items.length === 1 ? '' : 's'}`;

/** @param {Date} when @param {number} span */
const hour = (when, span) => (span > 24 * HOUR ? when.toLocaleDateString([], { weekday: 'short', day: 'numeric' })
  : when.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit' }));

/** @param {Incident[]} incidents @param {number} since @param {(time: number) => number} across */
function marks(incidents, since, across) {
  /** @type {Map<string, {incident: Incident, left: number, count: number}>} */
  const groups = new Map();
  for (const incident of incidents) {
    const left = across(Math.max(Date.parse(incident.first_seen), since));
    const key = `${incident.severity} ${Math.round(left / CLOSE)}`;
    const group = groups.get(key);
    if (group) group.count += 1;
    else groups.set(key, { incident, left, count: 1 });
  }
  return [...groups.values()].map(({ incident, left, count }) => {
    const others = count > 1 ? ` and ${count - 1} more` : '';
    const mark = el('a', {
      href: `/?view=incidents&incident=${incident.id}`,
      class: 'tick',
      'data-severity': incident.severity,
      title: `${incident.title}${others}, ${new Date(incident.first_seen).toLocaleString()}`,
      'aria-label': `${incident.severity}: ${incident.title}${others}`,
    });
    mark.style.left = `${left}%`;
    return mark;
  });
}
