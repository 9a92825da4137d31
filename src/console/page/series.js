// Numbers of the screens over time: a list with the last hour of each, and the
// chart of one.

import { ask } from './api.js';
import { Chart, path } from './chart.js';
import { at, el, fill, foreign, isPressed, keeping, released, svg, words } from './dom.js';
import { ago, full, number } from './format.js';
import { Pages } from './pages.js';
import { Span } from './span.js';
import { shown } from './units.js';

/** @import {Values} from './chart.js' */
/** @import {Samples, SampleStep, Series} from './types' */

/** Size of a sparkline, in the units of its drawing. */
const SPARK = { width: 120, height: 24 };
/** Rows of the table beside the chart. */
const ROWS = 60;
/** Items of a page. */
const PAGE = 100;
/** Interval in ms at which the view is loaded again, while it shows what is now. */
const REFRESH = 15_000;

/** @type {[number, string][]} */
const LENGTHS = [[1, 'hour'], [8, '8 hours'], [24, 'day'], [168, 'week'], [720, '30 days'], [8760, 'year']];
const span = new Span(at('series-span'), LENGTHS, 1, draw);
/** @type {Pages<Series>} */
const list = new Pages(at('series-list'), row);
const filter = /** @type {HTMLFormElement} */ (at('series-filter'));
const field = (/** @type {string} */ name) => /** @type {HTMLInputElement} */ (filter.elements.namedItem(name));

// The button below the list belongs below its table.
const more = at('series-list').nextElementSibling;
if (more) at('series-table').after(more);

let chosen = '';
filter.addEventListener('submit', (event) => {
  event.preventDefault();
  remember();
  load().catch(failed);
});
filter.addEventListener('reset', () => setTimeout(() => {
  remember();
  load().catch(failed);
}));
document.addEventListener('zone', () => last && drawChart(last));
setInterval(async () => {
  if (at('series').hidden || document.hidden || list.length > PAGE) return;
  await released();
  const query = new URLSearchParams(location.search);
  if (chosen && !query.get('until')) {
    span.set(query);
    draw();
  }
  load().catch(failed);
}, REFRESH);

/** @param {unknown} error */
function failed(error) {
  at('series-count').textContent = words(error);
}

/** Filter in the URL, so that it can be shared. */
function remember() {
  const query = new URLSearchParams(location.search);
  for (const name of ['label', 'stream']) {
    if (field(name).value) query.set(name, field(name).value);
    else query.delete(name);
  }
  history.replaceState(null, '', `/?${query}${location.hash}`);
}

/** @param {URLSearchParams} query */
export async function show(query) {
  span.set(query);
  for (const name of ['label', 'stream']) field(name).value = query.get(name) ?? '';
  const opened = query.get('series') ?? '';
  const another = opened !== chosen;
  chosen = opened;
  at('series-one').hidden = !chosen;
  if (another) last = null;
  await Promise.all([load(), chosen && draw()]);
  if (another && chosen) {
    at('series').scrollTop = 0;
    /** @type {HTMLElement | null} */ (at('series-chart').querySelector('h2'))?.focus({ preventScroll: true });
  }
}

/** Address of this view with another series, or none. @param {string} id */
function address(id) {
  const query = new URLSearchParams(location.search);
  query.set('view', 'series');
  if (id) query.set('series', id);
  else query.delete('series');
  return `/?${query}`;
}

async function load() {
  const query = new URLSearchParams({ limit: String(PAGE) });
  for (const name of ['label', 'stream']) if (field(name).value) query.set(name, field(name).value);
  const filtered = query.size > 1;
  if (isPressed()) await released();
  const before = stop();
  await list.start(`/api/series?${query}`);
  if (before) /** @type {HTMLElement | null} */ (at('series-list').querySelector(`a[data-id="${before}"]`))?.focus({ preventScroll: true });
  const none = filtered ? 'No series match the filter' : 'No series yet';
  at('series-count').textContent = list.length ? list.count('series').replace('seriess', 'series') : none;
  at('series-table').hidden = !list.length;
  at('series-empty').hidden = Boolean(list.length) || filtered;
  at('series-all').hidden = !filtered;
}

/** Series whose row has the focus. */
function stop() {
  const now = document.activeElement;
  return now instanceof HTMLElement && at('series-list').contains(now) ? now.dataset.id : undefined;
}

/** @param {Series} series */
function row({ id, stream, place, label, unit, value, last_seen, recent }) {
  const link = el('a', { href: address(String(id)), dir: 'auto', class: 'foreign', 'data-id': String(id) }, label);
  if (String(id) === chosen) link.setAttribute('aria-current', 'true');
  return el('tr', {},
    el('td', {}, link, el('span', { class: 'where' }, stream, ' · ', foreign(place))),
    el('td', { class: 'value' }, shown(value, unit)),
    el('td', { class: 'recent' }, sparkline(recent)),
    el('td', { class: 'seen' }, ago(last_seen)));
}

/** @type {Samples | null} */
let last = null;
let latest = 0;
async function draw() {
  if (!chosen) return;
  const mine = ++latest;
  const { since, until } = span.range;
  const within = `since=${encodeURIComponent(since.toISOString())}&until=${encodeURIComponent(until.toISOString())}`;
  try {
    /** @type {Samples} */
    const samples = await ask(`/api/series/${encodeURIComponent(chosen)}?${within}`);
    // Another range or series was chosen meanwhile.
    if (mine !== latest) return;
    last = samples;
    drawChart(samples);
  } catch (error) {
    if (mine !== latest) return;
    last = null;
    fill(at('series-chart'), back(), el('p', { role: 'alert' }, words(error)));
  }
}

const back = () => el('a', { href: address(''), class: 'back' }, '← All series');

/** @param {Samples} samples */
function drawChart({ series, since, until, step, items }) {
  const { label, stream, place, unit, value, last_seen } = series;
  const known = items.filter(({ mean }) => mean != null);
  const head = [
    back(),
    el('h2', { tabIndex: -1 }, foreign(label)),
    el('p', { class: 'where' }, stream, ' · ', foreign(place), `; last value ${shown(value, unit)}, seen `, ago(last_seen)),
  ];
  const opened = at('series-chart').querySelector('details')?.open ?? false;
  keeping(at('series-chart'), () => {
    if (!known.length) {
      fill(at('series-chart'), ...head, el('p', {}, 'Not on screen in this period'));
      return at('series-chart');
    }
    const low = Math.min(...known.map(({ min }) => min ?? 0));
    const high = Math.max(...known.map(({ max }) => max ?? 0));
    const range = `${shown(low, unit)} to ${shown(high, unit)}`;
    const gaps = items.length - known.length;
    const chart = new Chart({ series, since, until, step, items }, `${label}, ${full(since)} to ${full(until)}: ${range}`);
    fill(
      at('series-chart'),
      ...head,
      chart.element,
      el('p', { class: 'hint' }, `${range}. One step is ${number(step)} s${gaps ? `; not on screen in ${number(gaps)} of ${number(items.length)} steps` : ''}.`),
      el('details', { open: opened }, el('summary', {}, 'Values as a table'), table(items, unit)),
    );
    chart.draw();
    return at('series-chart');
  });
}

/** @param {Values} values */
function sparkline(values) {
  const known = values.flatMap((value) => (value === null ? [] : [value]));
  const { width, height } = SPARK;
  const [low, high] = [Math.min(...known), Math.max(...known)];
  // A constant is in the middle.
  const y = (/** @type {number} */ value) => (high > low ? height - 2 - (value - low) / (high - low) * (height - 4) : height / 2);
  const x = (/** @type {number} */ nth) => (nth + 0.5) / values.length * width;
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'spark', 'aria-hidden': 'true' },
    svg('path', { d: path(values, x, y), class: 'line' }));
}

/** Newest values first. @param {SampleStep[]} items @param {string} unit */
function table(items, unit) {
  const cell = (/** @type {number | null | undefined} */ value) => el('td', { class: 'value' }, value == null ? '—' : shown(value, unit));
  const rows = items.slice(-ROWS).reverse().map((item) => el('tr', {},
    el('th', { scope: 'row' }, full(item.at)),
    ...item.mean == null
      ? [el('td', { colSpan: 3, class: 'quiet' }, 'not on screen')]
      : [cell(item.mean), cell(item.min), cell(item.max)]));
  const head = ['Time', 'Mean', 'Minimum', 'Maximum'].map((name) => el('th', { scope: 'col' }, name));
  return el('table', {}, el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...rows));
}
