// Time range chosen by the user: length and end. It is in the URL, so that it
// can be shared.

import { serverNow } from './api.js';
import { el, fill } from './dom.js';
import { TIME_FIELD, fromField, isTime, toField, zone } from './format.js';

const HOUR = 3_600_000;
/** Names of the zones in which the end is entered. */
const ZONES = { utc: 'UTC', local: 'local' };

export class Span {
  #changed;
  #usual;
  #length;
  #field;
  #zone = el('span');
  #now;
  /** End of the range; null is now. Kept beside the field, as an hour in autumn is ambiguous. @type {Date | null} */
  #until = null;
  /** Range shown, fixed when it was loaded. */
  #range = { since: new Date(0), until: new Date(0) };

  /**
   * @param {HTMLElement} form
   * @param {[number, string][]} lengths in hours, the shortest first
   * @param {number} usual
   * @param {() => unknown} changed
   */
  constructor(form, lengths, usual, changed) {
    this.#changed = changed;
    this.#usual = String(usual);
    this.#length = /** @type {HTMLSelectElement} */ (el('select', { name: 'hours' },
      ...lengths.map(([hours, name]) => new Option(name, String(hours), hours === usual, hours === usual))));
    this.#field = /** @type {HTMLInputElement} */ (el('input', { name: 'until', ...TIME_FIELD, title: `${TIME_FIELD.title}; empty for now` }));
    this.#now = el('button', { type: 'button', onclick: () => this.#end(null) }, 'Now');
    fill(
      form,
      el('label', {}, 'Last ', this.#length),
      el('label', {}, 'until (', this.#zone, ') ', this.#field),
      el('button', { type: 'button', onclick: () => this.#move(-1) }, 'Earlier'),
      el('button', { type: 'button', onclick: () => this.#move(1) }, 'Later'),
      this.#now,
      ...form.children,
    );
    form.addEventListener('submit', (event) => event.preventDefault());
    this.#length.addEventListener('change', () => this.#notify());
    this.#field.addEventListener('change', () => isTime(this.#field) && this.#end(fromField(this.#field.value)));
    document.addEventListener('zone', () => this.#show());
    this.#show();
  }

  /** Sets the range from the URL. @param {URLSearchParams} query */
  set(query) {
    const hours = query.get('hours') ?? this.#usual;
    const known = [...this.#length.options].some(({ value }) => value === hours);
    this.#length.value = known ? hours : this.#usual;
    const until = new Date(query.get('until') ?? '');
    this.#until = Number.isNaN(until.getTime()) ? null : until;
    this.#settle();
  }

  get range() {
    return this.#range;
  }

  /** Zooms in to the next shorter length, around a time. @param {Date} middle */
  closer(middle) {
    this.#length.selectedIndex = Math.max(0, this.#length.selectedIndex - 1);
    this.#end(new Date(middle.getTime() + this.#milliseconds / 2));
  }

  get #milliseconds() {
    return Number(this.#length.value) * HOUR;
  }

  /** @param {number} times its length */
  #move(times) {
    this.#end(new Date(this.#range.until.getTime() + times * this.#milliseconds));
  }

  /** Ends at a whole second, as the URL has no finer times: a link then shows the same range. @param {Date | null} until */
  #end(until) {
    this.#until = until && until.getTime() < serverNow() ? new Date(Math.floor(until.getTime() / 1000) * 1000) : null;
    this.#notify();
  }

  #settle() {
    const until = this.#until ?? new Date(serverNow());
    this.#range = { since: new Date(until.getTime() - this.#milliseconds), until };
    this.#show();
    this.#now.setAttribute('aria-pressed', String(!this.#until));
  }

  /** Writes the end, in the zone that times are shown in. */
  #show() {
    this.#zone.textContent = ZONES[zone()];
    this.#field.value = this.#until ? toField(this.#until) : '';
  }

  #notify() {
    this.#settle();
    const query = new URLSearchParams(location.search);
    query.set('hours', this.#length.value);
    if (this.#until) query.set('until', this.#until.toISOString().replace(/\.\d+Z$/, 'Z'));
    else query.delete('until');
    history.replaceState(null, '', `/?${query}${location.hash}`);
    this.#changed();
  }
}
