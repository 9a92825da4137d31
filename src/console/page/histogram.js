// Histogram of incidents by severity, stacked, with a brush: by mouse, finger
// or keyboard.

import { SEVERITIES, el, fill, svg } from './dom.js';
import { counted, full, stamp, tick, timed } from './format.js';

/** @import {Histogram as Counts, Severity} from './types' */

/** Movement in pixels from which a press is a brush. */
const DRAGGED = 4;
/** Steps that Page Up and Page Down move by. */
const PAGE = 10;
const WORST_FIRST = [...SEVERITIES].reverse();

export class Histogram {
  #where;
  #chosen;
  #plot = el('div', { class: 'plot' });
  #axis = el('div', { class: 'times', 'aria-hidden': 'true' });
  #shade = el('div', { class: 'shade', hidden: true });
  #readout = el('output', { class: 'quiet readout' });
  /** @type {HTMLElement[]} */ #handles;
  /** @type {Counts | null} */ #counts = null;
  /** First and last step of the brush, in the order they were set. @type {[number, number] | null} */
  #brush = null;
  /** Place where the press began. @type {{x: number, step: number, dragged: boolean, other: number | null} | null} */
  #pressed = null;

  /**
   * @param {HTMLElement} where
   * @param {(from: number, to: number) => void} chosen Called with the range of a brush, in ms.
   */
  constructor(where, chosen) {
    this.#where = where;
    this.#chosen = chosen;
    this.#handles = ['Start', 'End'].map((label, nth) => el('div', {
      class: 'handle', role: 'slider', tabIndex: 0, 'aria-label': `${label} of range`, 'aria-valuemin': 0, title: `${label}: arrow keys, then Enter`,
      onkeydown: (/** @type {KeyboardEvent} */ event) => this.#key(event, nth),
      onblur: () => this.#left(),
    }));
    fill(where, el('div', { class: 'bars' }, this.#plot, this.#shade, ...this.#handles), this.#axis, this.#readout);
    const bars = /** @type {HTMLElement} */ (where.firstElementChild);
    bars.addEventListener('pointerdown', (event) => this.#down(event, bars));
    bars.addEventListener('pointermove', (event) => this.#move(event));
    bars.addEventListener('pointerup', (event) => this.#up(event));
    bars.addEventListener('pointercancel', () => this.#clear());
    bars.addEventListener('pointerleave', () => this.#pressed || this.#say(null));
  }

  /** @param {Counts} counts */
  show(counts) {
    // Drawn again under the pointer, a brush would change its meaning.
    if (this.#pressed || this.#brush) return;
    this.#counts = counts;
    const { buckets } = counts;
    const total = (/** @type {Counts['buckets'][number]} */ one) => SEVERITIES.reduce((sum, severity) => sum + one[severity], 0);
    const most = Math.max(1, ...buckets.map(total));
    const drawn = svg('svg', { viewBox: `0 0 ${buckets.length} ${most}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' });
    buckets.forEach((bucket, nth) => {
      let top = most;
      // The worst at the foot, where heights compare best.
      for (const severity of WORST_FIRST) {
        const count = bucket[severity];
        if (count === 0) continue;
        top -= count;
        drawn.append(svg('rect', { x: nth + 0.08, y: top, width: 0.84, height: count, 'data-severity': severity }));
      }
    });
    fill(this.#plot, drawn, el('span', { class: 'most quiet' }, String(most)));
    const [from, to] = [Date.parse(counts.from), Date.parse(counts.to)];
    fill(this.#axis, ...[0, 0.25, 0.5, 0.75, 1].map((share) => {
      const when = new Date(from + (to - from) * share);
      const made = el('time', { dateTime: when.toISOString() });
      return timed(made, () => {
        made.textContent = tick(when, to - from);
        made.title = full(when);
      });
    }));
    const sums = WORST_FIRST.map((severity) => [buckets.reduce((sum, one) => sum + one[severity], 0), severity]).filter(([count]) => Number(count) > 0);
    this.#where.setAttribute('aria-label', `Incidents over time: ${sums.map((one) => one.join(' ')).join(', ') || 'none'}`);
    this.#clear();
  }

  get #steps() { return this.#counts?.buckets.length ?? 0; }

  /** Beginning of a step, in ms. @param {number} step */
  #at(step) {
    const { from, to } = this.#counts ?? { from: '', to: '' };
    return Date.parse(from) + (Date.parse(to) - Date.parse(from)) * step / this.#steps;
  }

  /** @param {PointerEvent} event */
  #step({ clientX }) {
    const { left, width } = this.#plot.getBoundingClientRect();
    return Math.min(Math.max(Math.floor((clientX - left) / width * this.#steps), 0), this.#steps - 1);
  }

  /** @param {PointerEvent} event @param {HTMLElement} bars */
  #down(event, bars) {
    if (!this.#counts || event.button !== 0) return;
    const nth = this.#handles.indexOf(/** @type {HTMLElement} */ (event.target));
    bars.setPointerCapture(event.pointerId);
    const step = this.#step(event);
    // A handle that is dragged moves its end; the other stays.
    const [first, last] = this.#ends();
    this.#pressed = { x: event.clientX, step, dragged: false, other: nth < 0 ? null : nth === 0 ? last : first };
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.#counts) return;
    const step = this.#step(event);
    const pressed = this.#pressed;
    if (!pressed) return this.#say(step);
    pressed.dragged ||= Math.abs(event.clientX - pressed.x) >= DRAGGED;
    if (!pressed.dragged) return;
    this.#brush = [pressed.other ?? pressed.step, step];
    this.#draw();
  }

  /** @param {PointerEvent} event */
  #up(event) {
    const pressed = this.#pressed;
    if (!pressed) return;
    this.#pressed = null;
    const step = this.#step(event);
    if (pressed.dragged) this.#brush = [pressed.other ?? pressed.step, step];
    else if (pressed.other === null) this.#brush = [step, step];
    this.#apply();
  }

  /** @param {KeyboardEvent} event @param {number} nth */
  #key(event, nth) {
    const by = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1, PageDown: -PAGE, PageUp: PAGE, Home: -Infinity, End: Infinity }[event.key];
    if (by !== undefined && this.#counts) {
      const ends = this.#ends();
      const [least, most] = nth === 0 ? [0, ends[1]] : [ends[0], this.#steps - 1];
      ends[nth] = Math.min(Math.max(ends[nth] + by, least), most);
      this.#brush = ends;
      this.#draw();
    } else if (event.key === 'Enter' && this.#brush) this.#apply();
    else if (event.key === 'Escape' && this.#brush) this.#clear();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** Gives up a brush by keyboard when the focus has left both handles. */
  #left() {
    setTimeout(() => {
      if (!this.#pressed && !this.#handles.includes(/** @type {HTMLElement} */ (document.activeElement))) this.#clear();
    });
  }

  /** First and last step of the brush, or of all. @returns {[number, number]} */
  #ends() {
    if (!this.#brush) return [0, this.#steps - 1];
    return [Math.min(...this.#brush), Math.max(...this.#brush)];
  }

  #apply() {
    if (!this.#brush) return;
    const [first, last] = this.#ends();
    const range = /** @type {[number, number]} */ ([this.#at(first), this.#at(last + 1)]);
    this.#clear();
    this.#chosen(...range);
  }

  #clear() {
    [this.#brush, this.#pressed] = [null, null];
    this.#draw();
  }

  #draw() {
    const [first, last] = this.#ends();
    const share = (/** @type {number} */ step) => `${step / Math.max(1, this.#steps) * 100}%`;
    this.#shade.hidden = !this.#brush;
    this.#shade.style.left = share(first);
    this.#shade.style.width = share(last + 1 - first);
    this.#handles.forEach((handle, nth) => {
      const step = nth === 0 ? first : last + 1;
      handle.style.left = share(step);
      handle.setAttribute('aria-valuemax', String(Math.max(0, this.#steps - 1)));
      handle.setAttribute('aria-valuenow', String(nth === 0 ? first : last));
      if (this.#counts) handle.setAttribute('aria-valuetext', full(new Date(this.#at(step))));
    });
    if (this.#brush) this.#say(first, last);
    else this.#say(null);
  }

  /** Says what is in some steps. @param {number | null} first @param {number} [last] */
  #say(first, last = first ?? 0) {
    if (first === null || !this.#counts) {
      this.#readout.textContent = '';
      return;
    }
    const within = this.#counts.buckets.slice(first, last + 1);
    const sum = (/** @type {Severity} */ severity) => within.reduce((all, one) => all + one[severity], 0);
    const parts = WORST_FIRST.filter((severity) => sum(severity) > 0).map((severity) => `${sum(severity)} ${severity}`);
    const all = WORST_FIRST.reduce((total, severity) => total + sum(severity), 0);
    this.#readout.textContent = `${stamp(new Date(this.#at(first)), new Date(this.#at(last + 1)))}: ${counted(all, 'incident')}${parts.length > 1 ? ` (${parts.join(', ')})` : parts.length === 1 ? `, ${parts[0].split(' ')[1]}` : ''}`;
  }
}
