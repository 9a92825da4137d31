// A stretch of time that a person chooses: how long, and until when. It stands
// in the address, so that it can be shared.

import { el, fill } from './dom.js';

const HOUR = 3_600_000;
/** The current time of the clock, to the minute, as the browser's field has it. @param {Date} when */
const local = (when) => new Date(when.getTime() - when.getTimezoneOffset() * 60_000).toISOString().slice(0, 16);

export class Span {
  #changed;
  #length;
  #until;
  #now;

  /**
   * @param {HTMLElement} form
   * @param {[number, string][]} lengths in hours, the shortest first
   * @param {number} usual
   * @param {() => unknown} changed
   */
  constructor(form, lengths, usual, changed) {
    this.#changed = changed;
    this.#length = /** @type {HTMLSelectElement} */ (el('select', { name: 'hours' },
      ...lengths.map(([hours, name]) => new Option(name, String(hours), hours === usual, hours === usual))));
    this.#until = /** @type {HTMLInputElement} */ (el('input', { name: 'until', type: 'datetime-local', title: 'Now, where none is given' }));
    this.#now = el('button', { type: 'button', 'aria-pressed': 'true', onclick: () => this.#end(null) }, 'Now');
    fill(
      form,
      el('label', {}, 'The last ', this.#length),
      el('label', {}, 'until ', this.#until),
      el('button', { type: 'button', onclick: () => this.#move(-1) }, 'Earlier'),
      el('button', { type: 'button', onclick: () => this.#move(1) }, 'Later'),
      this.#now,
      ...form.children,
    );
    form.addEventListener('submit', (event) => event.preventDefault());
    form.addEventListener('change', () => this.#tell());
  }

  /** As the address has it. @param {URLSearchParams} query */
  set(query) {
    const hours = query.get('hours') ?? '';
    if ([...this.#length.options].some(({ value }) => value === hours)) this.#length.value = hours;
    const until = new Date(query.get('until') ?? '');
    this.#until.value = Number.isNaN(until.getTime()) ? '' : local(until);
    this.#showNow();
  }

  #showNow() {
    this.#now.setAttribute('aria-pressed', String(!this.#until.value));
  }

  /** Until now where no time is given. */
  get range() {
    const until = this.#until.value ? new Date(this.#until.value) : new Date();
    return { since: new Date(until.getTime() - this.#milliseconds), until };
  }

  /** The next shorter one, around a time. @param {Date} middle */
  closer(middle) {
    this.#length.selectedIndex = Math.max(0, this.#length.selectedIndex - 1);
    this.#end(new Date(middle.getTime() + this.#milliseconds / 2));
  }

  get #milliseconds() {
    return Number(this.#length.value) * HOUR;
  }

  /** @param {number} times its length */
  #move(times) {
    this.#end(new Date(this.range.until.getTime() + times * this.#milliseconds));
  }

  /** @param {Date | null} until */
  #end(until) {
    this.#until.value = until && until.getTime() < Date.now() ? local(until) : '';
    this.#tell();
  }

  #tell() {
    this.#showNow();
    const query = new URLSearchParams(location.search);
    query.set('hours', this.#length.value);
    if (this.#until.value) query.set('until', `${this.range.until.toISOString().slice(0, 16)}Z`);
    else query.delete('until');
    history.replaceState(null, '', `/?${query}${location.hash}`);
    this.#changed();
  }
}
