// Numbers of the screens over time: a list with the last hour of each, and the
// chart of one. A gap is a break of the line, never a zero.

import { ask } from './api.js';
import { at, el, fill, foreign, words } from './dom.js';
import { ago, full, minute, monthDay, number, timed } from './format.js';
import { Pages } from './pages.js';
import { Span } from './span.js';

/** @import {Samples, SampleStep, Series} from './types' */
/** @typedef {(number | null)[]} Values */

const SVG = 'http://www.w3.org/2000/svg';
/** Size of a sparkline and of the chart, in the units of their drawing. */
const SPARK = { width: 120, height: 24 };
const CHART = { width: 960, height: 240 };
/** Rows of the table beside the chart. */
const ROWS = 60;

/** @type {[number, string][]} */
const LENGTHS = [[1, 'hour'], [8, '8 hours'], [24, 'day'], [168, 'week'], [720, '30 days'], [8760, 'year']];
const span = new Span(at('series-span'), LENGTHS, 1, draw);
/** @type {Pages<Series>} */
const list = new Pages(at('series-list'), row);
const filter = /** @type {HTMLFormElement} */ (at('series-filter'));

// The button below the list belongs below its table.
const more = at('series-list').nextElementSibling;
if (more) at('series-table').after(more);

let chosen = '';
filter.addEventListener('submit', (event) => {
  event.preventDefault();
  load().catch((error) => { at('series-count').textContent = words(error); });
});
document.addEventListener('zone', () => last && drawChart(last));

/** @param {URLSearchParams} query */
export async function show(query) {
  span.set(query);
  chosen = query.get('series') ?? '';
  at('series-one').hidden = !chosen;
  await Promise.all([load(), chosen && draw()]);
}

async function load() {
  const query = new URLSearchParams({ limit: '100' });
  for (const [name, value] of new FormData(filter)) if (value) query.set(name, String(value));
  await list.start(`/api/series?${query}`);
  at('series-count').textContent = list.length ? list.count('series') : 'No series';
}

/** @param {Series} series */
function row({ id, stream, place, label, unit, value, last_seen, recent }) {
  return el('tr', {},
    el('td', {}, el('a', { href: `/?view=series&series=${id}`, dir: 'auto', class: 'foreign' }, label)),
    el('td', {}, stream),
    el('td', {}, foreign(place)),
    el('td', { class: 'value' }, shown(value, unit)),
    el('td', {}, sparkline(recent)),
    el('td', {}, ago(last_seen)));
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
    fill(at('series-chart'), el('p', { role: 'alert' }, words(error)));
  }
}

/** @param {Samples} samples */
function drawChart({ series, since, until, step, items }) {
  const { label, stream, place, unit } = series;
  const known = items.filter(({ mean }) => mean !== null);
  const gaps = items.length - known.length;
  const low = Math.min(...known.map(({ min }) => min ?? 0));
  const high = Math.max(...known.map(({ max }) => max ?? 0));
  const title = el('h2', {}, foreign(label), ` on ${stream} (`, foreign(place), ')');
  if (!known.length) {
    fill(at('series-chart'), title, el('p', {}, 'Not on the screen in this period'));
    return;
  }
  const range = `${shown(low, unit)} to ${shown(high, unit)}`;
  fill(
    at('series-chart'),
    title,
    el('p', {}, `${range}; one step is ${number(step)} s${gaps ? `; ${number(gaps)} of ${number(items.length)} steps without a value` : ''}.`),
    el('figure', {},
      chart(items, low, high, `${label}: ${range}`),
      el('figcaption', { class: 'axis' },
        scaled(since, since, until), el('span', {}, shown(high, unit), ' / ', shown(low, unit)), scaled(until, since, until))),
    el('details', {}, el('summary', {}, 'Values as a table'), table(items, unit)),
  );
}

/** Time of the axis. @param {string} stamp @param {string} since @param {string} until */
function scaled(stamp, since, until) {
  const when = new Date(stamp);
  const days = Date.parse(until) - Date.parse(since) > 86_400_000;
  const made = el('time', { dateTime: stamp });
  return timed(made, () => {
    made.textContent = days ? monthDay(when) : minute(when);
    made.title = full(when);
  });
}

/** @param {string} name @param {Record<string, string | number>} props @param {...Node} children */
function svg(name, props, ...children) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(props)) made.setAttribute(key, String(value));
  made.append(...children);
  return made;
}

/** Path of the values, broken at gaps; a lone value is a dot.
 * @param {Values} values @param {(nth: number) => number} x @param {(value: number) => number} y */
function path(values, x, y) {
  let open = false;
  const parts = values.map((value, nth) => {
    if (value === null) {
      open = false;
      return '';
    }
    const point = `${x(nth).toFixed(1)} ${y(value).toFixed(1)}`;
    const lone = !open && (values[nth + 1] ?? null) === null;
    const part = open ? `L${point}` : `M${point}${lone ? 'h0.1' : ''}`;
    open = true;
    return part;
  });
  return parts.join('');
}

/** Scale of values to a height, upside down; a constant is in the middle.
 * @param {number} low @param {number} high @param {number} height */
function scale(low, high, height) {
  const room = 2;
  const range = high - low;
  return (/** @type {number} */ value) => (range > 0
    ? height - room - (value - low) / range * (height - 2 * room)
    : height / 2);
}

/** @param {Values} values */
function sparkline(values) {
  const known = values.flatMap((value) => (value === null ? [] : [value]));
  const { width, height } = SPARK;
  const y = scale(Math.min(...known), Math.max(...known), height);
  const x = (/** @type {number} */ nth) => (nth + 0.5) / values.length * width;
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'spark', 'aria-hidden': 'true' },
    svg('path', { d: path(values, x, y), class: 'line' }));
}

/** @param {SampleStep[]} items @param {number} low @param {number} high @param {string} name */
function chart(items, low, high, name) {
  const { width, height } = CHART;
  const y = scale(low, high, height);
  const x = (/** @type {number} */ nth) => (nth + 0.5) / items.length * width;
  // The range of each step, where its values differ.
  const ranges = items.map(({ min, max }, nth) => (min == null || max == null || min === max ? ''
    : `M${x(nth).toFixed(1)} ${y(min).toFixed(1)}V${y(max).toFixed(1)}`));
  return svg('svg', { viewBox: `0 0 ${width} ${height}`, class: 'chart', role: 'img', 'aria-label': name },
    svg('path', { d: ranges.join(''), class: 'range' }),
    svg('path', { d: path(items.map(({ mean }) => mean ?? null), x, y), class: 'line' }));
}

/** Newest values first. @param {SampleStep[]} items @param {string} unit */
function table(items, unit) {
  const cell = (/** @type {number | null | undefined} */ value) => el('td', { class: 'value' }, value == null ? '—' : shown(value, unit));
  const rows = items.slice(-ROWS).reverse().map((item) => el('tr', {},
    el('th', { scope: 'row' }, full(item.at)),
    ...item.mean == null
      ? [el('td', { colSpan: 3, class: 'quiet' }, 'no value')]
      : [cell(item.mean), cell(item.min), cell(item.max)]));
  const head = ['Time', 'Mean', 'Minimum', 'Maximum'].map((name) => el('th', { scope: 'col' }, name));
  return el('table', {}, el('thead', {}, el('tr', {}, ...head)), el('tbody', {}, ...rows));
}

const digits = new Intl.NumberFormat('en', { maximumSignificantDigits: 5 });
/** @type {Record<string, [number, string][]>} */
const STEPS = {
  seconds: [[86_400 * 2, 'd'], [7200, 'h'], [120, 'min'], [1, 's'], [1e-3, 'ms'], [1e-6, 'µs'], [1e-9, 'ns']],
  bytes: [[1e12, 'TB'], [1e9, 'GB'], [1e6, 'MB'], [1e3, 'kB'], [1, 'B']],
};
/** Size of a unit, where it begins later than at one. @type {Record<string, number>} */
const SIZE = { d: 86_400, h: 3600, min: 60 };
/** @type {Record<string, [string, string]>} */
const SIGNS = { none: ['', ''], percent: ['', ' %'], per_second: ['', '/s'], usd: ['$', ''], eur: ['€', ''], gbp: ['£', ''] };

/** Value in a readable unit. @param {number} value @param {string} unit */
function shown(value, unit) {
  const per = unit === 'bytes_per_second' ? '/s' : '';
  const steps = STEPS[per ? 'bytes' : unit];
  if (!steps) {
    const [before, after] = SIGNS[unit] ?? ['', ''];
    return `${before}${digits.format(value)}${after}`;
  }
  const base = per || unit === 'bytes' ? 'B' : 's';
  const [from, name] = steps.find(([least]) => Math.abs(value) >= least) ?? [1, base];
  return `${digits.format(value / (SIZE[name] ?? from))} ${name}${per}`;
}
