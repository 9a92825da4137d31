// Chart of one series: line of the means, band of the minima and maxima, grid
// with units, and the value under the mouse or the arrow keys. A gap is a break
// of the line with its time marked, never a zero.

import { el, fill, svg } from './dom.js';
import { full, minute, monthDay, zone } from './format.js';
import { scaleOf, shown } from './units.js';

/** @import {Samples, SampleStep} from './types' */
/** @typedef {(number | null)[]} Values */
/** @typedef {{low: number, high: number}} Domain */

/** Room around the drawing, in pixels: labels of the axes. */
const ROOM = { left: 4, right: 12, top: 10, bottom: 26 };
/** Height of the whole, and least distances of the grid's lines, in pixels. */
const [HEIGHT, ROW, COLUMN] = [280, 48, 110];
/** Width of a letter of the axis, in pixels. */
const LETTER = 7;
/** Steps of the time axis in ms. */
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 180, 360, 720, 1440, 2880, 10080, 20160, 43200, 86400].map((minutes) => minutes * 60_000);
const DAY = 86_400_000;

/** Path of the values, broken at gaps; a lone value is a dot.
 * @param {Values} values @param {(nth: number) => number} x @param {(value: number) => number} y */
export function path(values, x, y) {
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

/** Runs of steps that satisfy a condition, as first and last. @param {SampleStep[]} items @param {(item: SampleStep) => boolean} good */
function runs(items, good) {
  /** @type {[number, number][]} */
  const found = [];
  items.forEach((item, nth) => {
    if (!good(item)) return;
    const last = found.at(-1);
    if (last?.[1] === nth - 1) last[1] = nth;
    else found.push([nth, nth]);
  });
  return found;
}

const isGap = (/** @type {SampleStep} */ { mean }) => mean == null;

/** Next larger of 1, 2 and 5 times a power of ten. @param {number} least */
function round(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return power * (/** @type {number} */ ([1, 2, 5, 10].find((times) => times * power >= least * 0.999)));
}

/** Values of the grid, and the range that they and the data are in. @param {number} low @param {number} high @param {number} unit factor between the base unit and that of the axis */
function grid(low, high, unit) {
  // From zero where the values reach down to half of the range.
  let [from, to] = [low >= 0 && low <= high / 2 ? 0 : low, high <= 0 && high >= low / 2 ? 0 : high];
  if (from === to) {
    const around = Math.abs(from) || unit;
    [from, to] = [from - around / 10, to + around / 10];
  }
  const rows = Math.floor((HEIGHT - ROOM.top - ROOM.bottom) / ROW);
  const step = round((to - from) / unit / rows) * unit;
  const first = Math.floor(from / step + 1e-9);
  const last = Math.ceil(to / step - 1e-9);
  const lines = Array.from({ length: last - first + 1 }, (_, nth) => (first + nth) * step);
  return { lines, low: first * step, high: last * step };
}

/** Times of the grid: whole minutes, hours or days of the zone shown. @param {number} from @param {number} to @param {number} width */
function times(from, to, width) {
  const step = TIMES.find((one) => (to - from) / one * COLUMN <= width) ?? Number(TIMES.at(-1));
  const offset = (/** @type {number} */ at) => (zone() === 'utc' ? 0 : new Date(at).getTimezoneOffset() * 60_000);
  const found = [];
  let at = Math.ceil((from - offset(from)) / step) * step + offset(from);
  for (; at < to; at += step) found.push(at);
  return { step, found };
}

/** Label of a time on the axis: the day at midnight, or where hours do not matter. @param {number} at @param {number} step */
function timeLabel(at, step) {
  const when = new Date(at);
  const hour = minute(when);
  return step >= DAY || hour === '00:00' ? monthDay(when) : hour;
}

/** Interactive chart; `resize` draws it again in the width it has. */
export class Chart {
  /** @type {Samples} */
  #samples;
  #figure;
  #area = el('div', { class: 'series-plot', tabIndex: 0, role: 'slider', 'aria-label': 'Value at a time', 'aria-orientation': 'horizontal' });
  #readout = el('p', { class: 'series-readout' });
  /** Step that is read out; -1 for none. */
  #at = -1;
  /** @type {(nth: number) => number} */
  #x = () => 0;
  #left = 0;
  #inner = 0;

  /** @param {Samples} samples @param {string} name */
  constructor(samples, name) {
    this.#samples = samples;
    const { items } = samples;
    const gaps = items.some(isGap);
    const varied = items.some(({ min, max }) => min !== max);
    const key = (/** @type {string} */ what, /** @type {string} */ text) => el('span', { class: 'key' },
      svg('svg', { viewBox: '0 0 24 12', class: 'swatch', 'aria-hidden': 'true' },
        what === 'line' ? svg('path', { d: 'M1 6H23', class: 'line' }) : svg('rect', { x: 1, y: 1, width: 22, height: 10, class: what })),
      text);
    this.#figure = el('figure', {},
      el('figcaption', { class: 'unseen' }, name),
      this.#area,
      el('p', { class: 'legend' }, key('line', 'Mean'), varied && key('range', 'Minimum to maximum'), gaps && key('gap', 'Not on screen')),
      this.#readout);
    const last = items.findLastIndex((item) => !isGap(item));
    this.#area.setAttribute('aria-valuemin', '0');
    this.#area.setAttribute('aria-valuemax', String(items.length - 1));
    this.#area.addEventListener('pointermove', ({ offsetX }) => this.#read(Math.floor((offsetX - this.#left) / this.#inner * items.length)));
    this.#area.addEventListener('pointerdown', ({ offsetX }) => this.#read(Math.floor((offsetX - this.#left) / this.#inner * items.length)));
    this.#area.addEventListener('keydown', (event) => {
      const { key: pressed } = event;
      const by = event.shiftKey ? 10 : 1;
      const to = { ArrowLeft: this.#at - by, ArrowRight: this.#at + by, ArrowDown: this.#at - by, ArrowUp: this.#at + by, Home: 0, End: items.length - 1 }[pressed];
      if (to === undefined) return;
      event.preventDefault();
      event.stopPropagation();
      this.#read(to);
    });
    this.#at = last;
    new ResizeObserver(() => this.draw()).observe(this.#area);
  }

  get element() {
    return this.#figure;
  }

  draw() {
    const width = this.#area.clientWidth;
    if (width < 50) return;
    const { series: { unit }, since, until, items } = this.#samples;
    const known = items.filter((item) => !isGap(item));
    const low = Math.min(...known.map(({ min }) => min ?? 0));
    const high = Math.max(...known.map(({ max }) => max ?? 0));
    const scale = scaleOf(Math.max(Math.abs(low), Math.abs(high)), unit);
    const range = grid(low, high, scale.factor);
    const labels = range.lines.map((value) => scale.label(value, range.lines[1] - range.lines[0]));
    const left = ROOM.left + Math.max(...labels.map(({ length }) => length)) * LETTER + 6;
    const inner = width - left - ROOM.right;
    const [top, bottom] = [ROOM.top, HEIGHT - ROOM.bottom];
    const y = (/** @type {number} */ value) => bottom - (value - range.low) / (range.high - range.low) * (bottom - top);
    const x = (/** @type {number} */ nth) => left + (nth + 0.5) / items.length * inner;
    const edge = (/** @type {number} */ nth) => left + nth / items.length * inner;
    [this.#x, this.#left, this.#inner] = [x, left, inner];

    const rows = range.lines.flatMap((value, nth) => [
      svg('path', { d: `M${left} ${y(value).toFixed(1)}H${left + inner}`, class: 'grid' }),
      svg('text', { x: left - 6, y: y(value) + 4, 'text-anchor': 'end' }, labels[nth]),
    ]);
    const [from, to] = [Date.parse(since), Date.parse(until)];
    const { step, found } = times(from, to, inner);
    const columns = found.flatMap((at) => {
      const across = left + (at - from) / (to - from) * inner;
      return [
        svg('path', { d: `M${across.toFixed(1)} ${top}V${bottom + 4}`, class: 'grid' }),
        // A label at the edge would be cut off.
        ...across < left + 16 || across > width - 22 ? [] : [svg('text', { x: across, y: HEIGHT - 8, 'text-anchor': 'middle' }, timeLabel(at, step))],
      ];
    });
    const gaps = runs(items, isGap).map(([first, last]) => svg('rect', {
      x: edge(first).toFixed(1), y: top, width: (edge(last + 1) - edge(first)).toFixed(1), height: bottom - top, class: 'gap',
    }));
    const bands = runs(items, (item) => !isGap(item)).map(([first, last]) => {
      const within = items.slice(first, last + 1);
      const upper = within.map(({ max }, nth) => `${x(first + nth).toFixed(1)} ${y(max ?? 0).toFixed(1)}`);
      const lower = within.map(({ min }, nth) => `${x(first + nth).toFixed(1)} ${y(min ?? 0).toFixed(1)}`);
      return svg('path', { d: `M${upper.join('L')}L${lower.reverse().join('L')}Z`, class: 'range' });
    });
    fill(this.#area, svg('svg', { viewBox: `0 0 ${width} ${HEIGHT}`, width, height: HEIGHT, class: 'chart', 'aria-hidden': 'true' },
      ...gaps, ...rows, ...columns, ...bands,
      svg('path', { d: path(items.map(({ mean }) => mean ?? null), x, y), class: 'line' }),
      svg('path', { class: 'cursor' }),
      svg('circle', { r: 4, class: 'cursor' })));
    this.#place(y, top, bottom);
    this.#readAt = () => this.#place(y, top, bottom);
    this.#read(this.#at);
  }

  #readAt = () => {};

  /** Reads a step out. @param {number} nth */
  #read(nth) {
    const { items, step, series: { unit } } = this.#samples;
    this.#at = Math.max(0, Math.min(items.length - 1, nth));
    const { at, mean, min, max } = items[this.#at];
    const time = step >= 60 ? full(at).replace(/:\d\d (?=\S+$)/, ' ') : full(at);
    const value = mean == null ? 'not on screen' : shown(mean, unit);
    const varied = mean != null && min !== max ? ` (${shown(min ?? 0, unit)} to ${shown(max ?? 0, unit)})` : '';
    fill(this.#readout, el('time', { dateTime: at }, time), el('strong', {}, value), varied);
    this.#area.setAttribute('aria-valuenow', String(this.#at));
    this.#area.setAttribute('aria-valuetext', `${time}: ${value}${varied}`);
    this.#readAt();
  }

  /** @param {(value: number) => number} y @param {number} top @param {number} bottom */
  #place(y, top, bottom) {
    const across = this.#x(this.#at);
    const mean = this.#samples.items[this.#at]?.mean;
    this.#area.querySelector('path.cursor')?.setAttribute('d', `M${across.toFixed(1)} ${top}V${bottom}`);
    const dot = this.#area.querySelector('circle.cursor');
    dot?.setAttribute('cx', across.toFixed(1));
    dot?.setAttribute('cy', String(mean == null ? -10 : y(mean)));
  }
}
