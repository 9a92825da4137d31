// Scope of the page: the time range and the stream that its views are limited
// to. Both are chosen in the header and kept in the URL.

import { serverNow } from './api.js';
import { at, el, fill } from './dom.js';
import { TIME_FIELD, full, fromField, isTime, stamp, toField, zone } from './format.js';

/** @typedef {{from: Date, to: Date, open: boolean}} Range `open` ranges end now, and go on. */

const MINUTE = 60_000;
/** Lengths of ranges that end now: name in the URL, label, minutes. @type {[string, string, number][]} */
const LENGTHS = [
  ['5m', '5 minutes', 5], ['10m', '10 minutes', 10], ['15m', '15 minutes', 15], ['1h', 'hour', 60],
  ['8h', '8 hours', 480], ['24h', '24 hours', 1440], ['7d', '7 days', 10_080],
];
/** Views that are limited; a view not named shows everything. */
const LIMITED = ['incidents', 'panel', 'search', 'history'];
/** Longest range that zooming out leads to; beyond it is any time. */
const LONGEST = 90 * 24 * 60 * MINUTE;

/** Length of a range that ends now; empty for none. */
let length = '';
/** Range with an end. @type {{from: Date, to: Date} | null} */
let fixed = null;
let stream = '';
/** @type {() => void} */
let changed = () => {};

/** Stream that views are limited to; empty for all. */
export const scopeStream = () => stream;

/** Range at this moment; null for any time. @param {string} [usual] Length where no range is chosen. @returns {Range | null} */
export function scopeRange(usual = '') {
  if (fixed) return { ...fixed, open: false };
  const minutes = LENGTHS.find(([name]) => name === (length || usual))?.[2];
  if (!minutes) return null;
  const to = new Date(serverNow());
  return { from: new Date(to.getTime() - minutes * MINUTE), to, open: true };
}

/** True if something that lasted from one time to another was there within the range. @param {string} first @param {string} [last] */
export function inScope(first, last = first) {
  const range = scopeRange();
  return !range || (Date.parse(last) >= Number(range.from) && (range.open || Date.parse(first) < Number(range.to)));
}

/** Parameters of the API for the range; those of `usual` for any time. @param {string} usual */
export function sinceUntil(usual) {
  const range = scopeRange();
  if (!range) return usual;
  return String(new URLSearchParams({ since: range.from.toISOString(), ...(range.open ? {} : { until: range.to.toISOString() }) }));
}

/** Range within a sentence; `usual` for any time. @param {string} usual */
export const inWords = (usual) => (fixed || length ? name().replace('Last', 'last') : usual);

/** Parameters of the URL. @returns {Record<string, string>} */
export function scopeParams() {
  return {
    ...(fixed ? { from: url(fixed.from), to: url(fixed.to) } : length ? { range: length } : {}),
    ...(stream ? { stream } : {}),
  };
}

/** True if a view is limited. @param {string} view */
export const isLimited = (view) => LIMITED.includes(view);

/** Sets the scope from the URL; true if it changes. @param {URLSearchParams} query */
export function setScope(query) {
  const before = JSON.stringify(scopeParams());
  stream = query.get('stream') ?? '';
  const [from, to] = ['from', 'to'].map((name) => new Date(query.get(name) ?? ''));
  fixed = from < to ? { from, to } : earlier(query);
  const wanted = query.get('range') ?? '';
  length = !fixed && LENGTHS.some(([name]) => name === wanted) ? wanted : '';
  show();
  return JSON.stringify(scopeParams()) !== before;
}

/** Range of a link of an earlier version, in hours before its end. @param {URLSearchParams} query */
function earlier(query) {
  const hours = Number(query.get('hours'));
  const to = new Date(query.get('until') ?? serverNow());
  if (!(hours > 0) || query.get('view') !== 'history' || Number.isNaN(to.getTime())) return null;
  return { from: new Date(to.getTime() - hours * 60 * MINUTE), to };
}

/** Limits the views to a range. @param {Date | number} from @param {Date | number} to */
export function scopeTo(from, to) {
  // Whole seconds, as in the URL: a link shows the same range.
  const [start, end] = [Math.floor(Number(from) / 1000) * 1000, Math.ceil(Number(to) / 1000) * 1000];
  [length, fixed] = ['', { from: new Date(start), to: new Date(Math.max(end, start + 1000)) }];
  apply();
}

/** Limits the views to a length that ends now; empty for any time. @param {string} wanted */
function scopeToLength(wanted) {
  [length, fixed] = [wanted, null];
  apply();
}

/** Limits the views to a stream; empty for all. @param {string} wanted */
export function scopeToStream(wanted) {
  stream = wanted;
  apply();
}

/** Twice the range, with the same middle; any time beyond the longest. @param {string} [usual] */
export function zoomOut(usual = '') {
  const range = scopeRange(usual);
  if (!range) return;
  const half = (Number(range.to) - Number(range.from)) / 2;
  if (half * 4 > LONGEST) scopeToLength('');
  else scopeTo(Number(range.from) - half, Math.min(Number(range.to) + half, serverNow()));
}

/** Moves the range by its own length. @param {number} times @param {string} [usual] */
export function move(times, usual = '') {
  const range = scopeRange(usual);
  if (!range) return;
  const long = Number(range.to) - Number(range.from);
  const to = Math.min(Number(range.to) + long * times, serverNow());
  scopeTo(to - long, to);
}

function apply() {
  show();
  changed();
}

/** @param {Date} when */
const url = (when) => when.toISOString().replace(/\.\d+Z$/, 'Z');

/** Range in words. */
function name() {
  if (fixed) return stamp(fixed.from, fixed.to);
  const known = LENGTHS.find(([one]) => one === length);
  return known ? `Last ${known[1]}` : 'Any time';
}

function show() {
  at('range').textContent = name();
  at('range').title = fixed ? `${full(fixed.from)} to ${full(fixed.to)} (t)` : 'Time range (t)';
  for (const one of at('ranges').querySelectorAll('[data-range]')) {
    const { range } = /** @type {HTMLElement} */ (one).dataset;
    one.setAttribute('aria-pressed', String(!fixed && range === length));
  }
  offerStreams([]);
  const only = /** @type {HTMLSelectElement} */ (at('only'));
  only.value = stream;
}

/** Offers streams to choose from; earlier ones stay, as their incidents do. @param {string[]} names */
export function offerStreams(names) {
  const only = /** @type {HTMLSelectElement} */ (at('only'));
  const there = new Set([...only.options].map(({ value }) => value));
  only.append(...[...names, stream].filter((one) => one && !there.has(one)).map((one) => new Option(one, one)));
}

/** Streams that are offered. */
export const knownStreams = () => [.../** @type {HTMLSelectElement} */ (at('only')).options].map(({ value }) => value).filter(Boolean);

/** Opens the list of ranges. */
export function openRanges() {
  at('ranges').showPopover();
}

/** @param {() => void} then Called after the user has changed the scope. */
export function prepareScope(then) {
  changed = then;
  const [from, to] = ['From', 'To'].map((label) => /** @type {HTMLInputElement} */ (el('input', { ...TIME_FIELD, name: label.toLowerCase() })));
  const [zoneOf, error] = [el('span'), el('p', { role: 'alert', hidden: true })];
  const custom = el('form', { noValidate: true }, el('p', { class: 'quiet' }, 'From and to (empty: now), in ', zoneOf),
    el('label', {}, 'From ', from), el('label', {}, 'To ', to), error, el('button', {}, 'Show'));
  const close = () => at('ranges').hidePopover();
  custom.addEventListener('submit', (event) => {
    event.preventDefault();
    if (![from, to].every(isTime)) return;
    const [start, end] = [fromField(from.value), fromField(to.value) ?? new Date(serverNow())];
    error.hidden = Boolean(start && start < end);
    if (!start || start >= end) {
      error.textContent = start ? '“To” must be after “From”' : '“From” is empty';
      return;
    }
    close();
    scopeTo(start, end);
  });
  fill(
    at('ranges'),
    el('div', { class: 'lengths', role: 'group', 'aria-label': 'Time range' },
      ...[['', 'Any time'], ...LENGTHS.map(([one, label]) => [one, `Last ${label}`])].map(([one, label]) => el('button', {
        type: 'button',
        'data-range': one,
        onclick: () => {
          close();
          scopeToLength(one);
        },
      }, label))),
    custom,
  );
  // Before it is shown: what is typed at once must not be overwritten.
  at('ranges').addEventListener('beforetoggle', (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== 'open') return;
    const range = scopeRange('1h');
    zoneOf.textContent = zone() === 'utc' ? 'UTC' : 'local time';
    [from.value, to.value] = range ? [toField(range.from), range.open ? '' : toField(range.to)] : ['', ''];
    error.hidden = true;
  });
  at('ranges').addEventListener('toggle', (event) => {
    if (/** @type {ToggleEvent} */ (event).newState !== 'open' || at('ranges').contains(document.activeElement)) return;
    /** @type {HTMLElement | null} */ (at('ranges').querySelector('[aria-pressed="true"], button'))?.focus();
  });
  at('only').addEventListener('change', () => scopeToStream(/** @type {HTMLSelectElement} */ (at('only')).value));
  document.addEventListener('zone', show);
  show();
}
