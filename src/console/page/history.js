// What the screens looked like, and when incidents began.

import { ask } from '/page/api.js';
import { at, clock, el } from '/page/dom.js';

const HOUR = 3_600_000;

export function prepare() {
  at('span').addEventListener('change', show);
  at('span').addEventListener('submit', (event) => event.preventDefault());
}

export async function show() {
  const hours = Number(new FormData(/** @type {HTMLFormElement} */ (at('span'))).get('hours'));
  const until = Date.now();
  const since = until - hours * HOUR;
  const from = encodeURIComponent(new Date(since).toISOString());
  const [incidents, moments] = await Promise.all([
    ask(`/api/incidents?status=&since=${from}&limit=1000`),
    ask(`/api/moments?since=${from}&limit=200`),
  ]);
  at('scale').replaceChildren(...incidents.items.map((incident) => {
    const begun = Math.max(Date.parse(incident.first_seen), since);
    const mark = el('a', {
      href: `/?view=incidents&incident=${incident.id}`,
      class: 'tick',
      'data-severity': incident.severity,
      title: `${incident.title}, ${new Date(begun).toLocaleString()}`,
      'aria-label': `${incident.severity}: ${incident.title}`,
    });
    mark.style.left = `${(begun - since) / (until - since) * 100}%`;
    return mark;
  }));
  const more = moments.next ? ', the newest of more' : '';
  at('past').textContent = `${incidents.items.length} incidents, ${moments.items.length} stills${more}`;
  at('moments').replaceChildren(...moments.items.map(({ url, seen_at, stream }) => el('li', {},
    el('a', { href: url, target: '_blank', rel: 'noopener' }, el('img', { src: url, alt: `${stream} at ${seen_at}`, loading: 'lazy' })),
    el('span', { class: 'quiet' }, clock(seen_at), ` ${stream}`))));
}
